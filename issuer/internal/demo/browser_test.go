package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
	"github.com/customersession/customersession/issuer/internal/demo"
)

var update = flag.Bool("update", false, "take the screenshots in deploy/images anew")

// run starts a development server, and returns it with the file that stands for
// its terminal.
func run(t *testing.T) (d *demo.Demo, terminal string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
	if err != nil {
		t.Fatal(err)
	}
	if d, err = demo.New(listener, out, nil); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		out.Close()
	})
	if err := d.Welcome(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d, out.Name()
}

// TestExamples sends the bodies that "Try it out" offers. The one that states a
// customer is for other servers.
func TestExamples(t *testing.T) {
	t.Parallel()
	d, _ := run(t)
	text, err := os.ReadFile("../../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]struct {
			Post struct {
				RequestBody struct {
					Content map[string]struct {
						Examples map[string]struct{ Value json.RawMessage }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	const path = "/v1/customer-sessions/"
	examples := document.Paths[path].Post.RequestBody.Content["application/json"].Examples
	delete(examples, "stated")
	if len(examples) < 3 {
		t.Fatalf("there are %d examples", len(examples))
	}
	for name, example := range examples {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.Base()+path, bytes.NewReader(example.Value))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+d.APIKey())
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusCreated {
			t.Errorf("%s: got %d, want 201", name, response.StatusCode)
		}
	}
}

// gateway starts a gateway that serves a server below a path, which it removes.
func gateway(t *testing.T, base string) string {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.StripPrefix("/sessions", &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}))
	t.Cleanup(server.Close)
	return server.URL + "/sessions"
}

// TestBrowser opens the portal in Chromium: see testdata/browser.
func TestBrowser(t *testing.T) {
	t.Parallel()
	node := needs.Program(t, "node", "install Node.js 20 or newer")
	browser := needs.Program(t, "chromium", "install Debian's chromium")
	needs.Path(t, "testdata/browser/node_modules", "run npm ci --prefix issuer/internal/demo/testdata/browser")
	d, terminal := run(t)
	input := map[string]string{
		"browser": browser, "base": d.Base(), "terminal": terminal, "expiredLink": d.ExpiredLink(t),
		"below": gateway(t, d.Base()), "apiKey": d.APIKey(), "codesAPIKey": d.CodesAPIKey(), "keyID": d.KeyID(t),
		"withoutIssuer": d.Portal(t, "/"), "withoutAPI": d.Portal(t, "/v1/"),
	}
	want := 80
	if needs.Rehearsal() {
		input["rehearsal"] = "true" // every page in German, too
		want = 99
	}
	if *update {
		images, err := filepath.Abs("../../../deploy/images")
		if err != nil {
			t.Fatal(err)
		}
		input["screenshots"] = images
	}
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), node, "check.mjs")
	check.Dir = "testdata/browser"
	check.Stdin = bytes.NewReader(text)
	output, err := check.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if *update {
		for _, name := range []string{"shop", "shop-dark", "portal", "portal-dark"} {
			shrink(t, filepath.Join(input["screenshots"], "demo-"+name+".png"))
		}
	}
	if passed := strings.Count(string(output), "ok "); passed < want {
		t.Errorf("only %d checks ran:\n%s", passed, output)
	}
}

// shrink leaves a screenshot its 256 most frequent colours.
func shrink(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	picture, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	bounds := picture.Bounds()
	count := map[color.Color]int{}
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			count[picture.At(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	small := image.NewPaletted(bounds, colors[:min(len(colors), 256)])
	draw.Draw(small, bounds, picture, bounds.Min, draw.Src)
	var buffer bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&buffer, small); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, buffer.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
