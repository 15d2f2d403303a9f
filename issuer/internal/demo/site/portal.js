// Counts down to the end of the session, and warns before it. The server says how
// much time is left: the browser's clock may be wrong. The page is right without
// this.
const left = document.getElementById("left");
const warning = document.getElementById("warning");
const ends = Date.now() + 1000 * left.dataset.seconds;

function show() {
  const seconds = Math.max(0, Math.round((ends - Date.now()) / 1000));
  if (seconds === 0) {
    location.replace(left.dataset.ended);
    return;
  }
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const clock = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  left.textContent = hours > 0 ? `${hours}:${clock}` : clock;
  if (seconds <= 300) {
    document.getElementById("renew").hidden = false;
    // Screen readers read this aloud when it changes, which is twice.
    const text = warning.getAttribute(seconds <= 60 ? "data-60" : "data-300");
    if (warning.textContent !== text) {
      warning.textContent = text;
    }
  }
  setTimeout(show, 1000 - ((Date.now() - ends) % 1000 + 1000) % 1000);
}

const time = document.querySelector("time");
time.textContent = new Date(time.dateTime).toLocaleString(document.documentElement.lang, { dateStyle: "long", timeStyle: "short" });
show();
