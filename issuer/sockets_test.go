//go:build unix

package issuer_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// holdSockets opens sockets, and keeps them open as systemd does between two
// processes of a service.
func holdSockets(t *testing.T, count int) (files []*os.File, addrs []string) {
	t.Helper()
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, listener.Addr().String())
		files = append(files, holdSocket(t, listener.(*net.TCPListener)))
	}
	return files, addrs
}

type socket interface {
	File() (*os.File, error)
	Close() error
}

func holdSocket(t *testing.T, opened socket) *os.File {
	t.Helper()
	file, err := opened.File() // a duplicate
	if err != nil {
		t.Fatal(err)
	}
	_ = opened.Close() // its name, for one with a path, goes as well
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// serveSockets starts serve with sockets of these names, separated by colons
// (sd_listen_fds(3)).
func serveSockets(t *testing.T, i *installation, files []*os.File, names string) *process {
	t.Helper()
	path := binary(t)
	// The process of the shell becomes that of the server.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" serve`, path)
	cmd.Env = append([]string{
		fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES=" + names, "CUSTOMERSESSION_KEY_RATE=0",
	}, i.env...)
	cmd.ExtraFiles = files
	return startCommand(t, cmd)
}

// The sockets outlive the server: while it is replaced, clients wait, and none is
// refused.
func TestServeRestartsOnSockets(t *testing.T) {
	t.Parallel()
	i := install(t, "https://sessions.example.com")
	files, addrs := holdSockets(t, 2)
	begin := func() *process {
		p := serveSockets(t, i, files, "operations:public") // the order says nothing
		operations, public := p.find(t, p.stderr, `"operations_addr":"([^"]+)"`), p.find(t, p.stderr, `"addr":"([^"]+)"`)
		if operations != addrs[0] || public != addrs[1] {
			t.Errorf("listening on %s, operations on %s; want %s and %s", public, operations, addrs[1], addrs[0])
		}
		return p
	}
	p := begin()
	operations := fixture{base: "http://" + addrs[0]}
	if a := operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusOK {
		t.Errorf("readiness: %d %s", a.status, a.body)
	}
	answers, stop := streamSessions(t, "http://"+addrs[1], i.secret)
	for range 3 {
		for range 20 {
			<-answers
		}
		p.signal(t)
		if code := p.wait(t); code != 0 {
			t.Errorf("exit code %d: %s", code, p.stderr)
		}
		late := askLate(t, addrs[1]) // with no server at all
		p = begin()
		if status := late(); status != http.StatusOK {
			t.Errorf("a request that came between two servers: got %d, want 200", status)
		}
	}
	for range 20 {
		<-answers
	}
	stop()
}

// streamSessions creates sessions until stop, each on a connection of its own,
// and reports each answer, which must be 201.
func streamSessions(t *testing.T, base, secret string) (answers <-chan int, stop func()) {
	t.Helper()
	client := &http.Client{Timeout: startLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	reports, stopped := make(chan int), make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				status, err := createOver(client, base, secret)
				if err != nil || status != http.StatusCreated {
					t.Errorf("creating a session: got %d, %v; want 201", status, err)
				}
				select {
				case reports <- status:
				case <-stopped:
					return
				}
			}
		})
	}
	return reports, func() {
		close(stopped)
		clients.Wait()
	}
}

func createOver(client *http.Client, base, secret string) (status int, err error) {
	request, err := http.NewRequest(http.MethodPost, base+"/v1/customer-sessions/", strings.NewReader(`{"customer_id":"`+customerID+`"}`))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// askLate sends a request that the next server answers.
func askLate(t *testing.T, addr string) (answer func() (status int)) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, startLimit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /.well-known/jwks.json HTTP/1.1\r\nHost: sessions\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return func() int {
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(startLimit))
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer response.Body.Close()
		return response.StatusCode
	}
}

func TestServeRefusesOtherSockets(t *testing.T) {
	t.Parallel()
	i := install(t, "https://sessions.example.com")
	two, _ := holdSockets(t, 2)
	three, _ := holdSockets(t, 3)
	const advice = `want one named public and one named operations; give each a .socket unit of its own that sets FileDescriptorName=`
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	local, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, names, want string
		files             []*os.File
	}{
		{"other names", "customersession.socket:customersession.socket", `got ["customersession.socket" "customersession.socket"], ` + advice, two},
		{"no names", "", advice, two},
		{"one name twice", "public:public", `got ["public" "public"], ` + advice, two},
		{"one missing", "public", `got ["public"], ` + advice, two[:1]},
		{"one too many", "public:operations:more", `got ["public" "operations" "more"], ` + advice, three},
		{"UDP", "public:operations", "operations is not listening", []*os.File{two[0], holdSocket(t, packets.(*net.UDPConn))}},
		{"a path", "public:operations", "public has the address", []*os.File{holdSocket(t, local.(*net.UnixListener)), two[0]}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := serveSockets(t, i, test.files, test.names)
			if code := p.wait(t); code != 2 || !strings.Contains(p.stderr.String(), test.want) {
				t.Errorf("exit code %d, want 2 and %s; it wrote\n%s", code, test.want, p.stderr)
			}
		})
	}
}

// Sockets for another process, such as the parent, are not taken.
func TestServeLeavesSocketsOfOthers(t *testing.T) {
	t.Parallel()
	p := serve(t, install(t, "https://sessions.example.com"), "LISTEN_PID=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=public:operations")
	if a := p.operations.do(t, http.MethodGet, "/readyz", ""); a.status != http.StatusOK {
		t.Errorf("readiness: %d %s", a.status, a.body)
	}
}
