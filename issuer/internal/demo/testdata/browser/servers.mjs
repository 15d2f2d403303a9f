// Servers on other ports of the same host: other origins, but the same site, so that
// a browser sends them the same cookies.
import { request, createServer } from "node:http";
import { want } from "./frame.mjs";

const servers = [];

async function listen(server) {
  servers.push(server);
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${server.address().port}`;
}

export function closeServers() {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
}

const pages = [];
const sibling = await listen(createServer((req, res) => {
  res.setHeader("Content-Type", "text/html");
  res.end("<!doctype html><title>A sibling</title>" + (pages[req.url.slice(1)] ?? ""));
}));

// siblingPage returns the address of a page of a sibling origin.
export const siblingPage = (html) => `${sibling}/${pages.push(html) - 1}`;

// A door is another origin of the portal, which remembers each request with the
// status of its answer. Cookies says whether those of answers go through.
export async function door({ cookies = true } = {}) {
  const requests = [];
  const forward = (req, answered) => {
    const { hostname, port } = new URL(want.base);
    const { connection, ...headers } = req.headers;
    const onward = request({ hostname, port, method: req.method, path: req.url, headers }, (answer) => {
      if (!cookies) {
        delete answer.headers["set-cookie"];
      }
      answer.on("end", () => requests.push({ method: req.method, url: req.url, headers: req.headers, status: answer.statusCode }));
      answered(answer);
    });
    return onward;
  };
  const server = createServer((req, res) => {
    req.pipe(forward(req, (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    }));
  });
  server.on("upgrade", (req, socket) => {
    socket.on("error", () => {});
    forward(req, (answer) => {
      answer.resume();
      socket.end(`HTTP/1.1 ${answer.statusCode} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    }).end();
  });
  const base = await listen(server);
  return {
    base,
    // through returns the address of a link behind this door.
    through: (link) => link.replace(want.base, base),
    // arrived waits for the answer to a request for an address.
    async arrived(address) {
      const url = address.slice(base.length);
      for (const end = Date.now() + 20_000; Date.now() < end; await new Promise((wake) => setTimeout(wake, 20))) {
        const found = requests.findIndex((r) => r.url === url);
        if (found >= 0) {
          return requests.splice(found, 1)[0];
        }
      }
      throw new Error("nobody asked for " + url.slice(0, 60));
    },
  };
}
