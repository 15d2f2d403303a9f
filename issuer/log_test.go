package issuer_test

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// The log's reader may go: the server goes on. Its log is framed.
func TestServeWithoutReader(t *testing.T) {
	t.Parallel()
	path := binary(t)
	i := install(t, "https://sessions.example.com")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := startWith(t, path, i.env, writer, "serve")
	_ = writer.Close()
	lines := bufio.NewScanner(reader)
	if !lines.Scan() || !strings.Contains(lines.Text(), `"msg":"listening"`) {
		t.Fatalf("the first line is %q, want listening", lines.Text())
	}
	_, after, _ := strings.Cut(lines.Text(), `"addr":"`)
	addr, _, _ := strings.Cut(after, `"`)
	_ = reader.Close()
	f := fixture{base: "http://" + addr, secret: i.secret}
	for range 3 {
		f.create(t, `{"customer_id":"`+customerID+`"}`)
	}
	p.signal(t)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestServeFramesItsLog(t *testing.T) {
	t.Parallel()
	p := serve(t, install(t, "https://sessions.example.com"))
	p.signal(t)
	p.wait(t)
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	if first := lines[0]; !strings.Contains(first, `"msg":"listening"`) {
		t.Errorf("the first line is %s", first)
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, `"msg":"stopped"`) {
		t.Errorf("the last line is %s", last)
	}
}
