package howto_test

import (
	"bufio"
	"fmt"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// A mailbox is an SMTP server that takes one message.
type mailbox struct {
	host, port string
	message    chan string
}

func newMailbox(t *testing.T) mailbox {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	box := mailbox{message: make(chan string, 1)}
	if box.host, box.port, err = net.SplitHostPort(listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			close(box.message)
			return
		}
		defer connection.Close()
		box.message <- receive(connection)
	}()
	return box
}

// receive speaks SMTP with one client (RFC 5321, Section 4.1).
func receive(connection net.Conn) (message string) {
	lines := bufio.NewScanner(connection)
	fmt.Fprint(connection, "220 mailbox\r\n")
	for lines.Scan() {
		switch strings.ToUpper(lines.Text()) {
		case "DATA":
			fmt.Fprint(connection, "354 go on\r\n")
			var text strings.Builder
			for lines.Scan() && lines.Text() != "." {
				text.WriteString(strings.TrimPrefix(lines.Text(), ".") + "\r\n")
			}
			message = text.String()
			fmt.Fprint(connection, "250 taken\r\n")
		case "QUIT":
			fmt.Fprint(connection, "221 bye\r\n")
			return message
		default:
			fmt.Fprint(connection, "250 fine\r\n")
		}
	}
	return message
}

// open returns the body of the message, and checks who gets it.
func (m mailbox) open(t *testing.T, to string) string {
	t.Helper()
	message, err := mail.ReadMessage(strings.NewReader(<-m.message))
	if err != nil {
		t.Fatal(err)
	}
	if got := message.Header.Get("To"); got != to {
		t.Errorf("the mail goes to %q, want %q", got, to)
	}
	var body strings.Builder
	reader := bufio.NewReader(message.Body)
	if message.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		reader = bufio.NewReader(quotedprintable.NewReader(message.Body))
	}
	if _, err := reader.WriteTo(&body); err != nil {
		t.Fatal(err)
	}
	return body.String()
}

// The link in the mail is whole, and its session lasts a day.
func TestMail(t *testing.T) {
	t.Parallel()
	python := needs.Program(t, "python3", "install Python 3")
	d, box := startDev(t), newMailbox(t)
	folder := write(t, blocks(t, "email.md", pageIssuer, d.base))
	if err := os.WriteFile(filepath.Join(folder, "key"), []byte(d.apiKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), python, "mail.py", "user_ada")
	command.Dir = folder
	command.Env = append(command.Environ(), "API_KEY_FILE=key", "SMTP_HOST="+box.host, "SMTP_PORT="+box.port)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	body := box.open(t, "ada@example.com")
	match := regexp.MustCompile(`(?m)^http\S+\?customer_session_token=(\S+)\r?$`).FindStringSubmatch(body)
	if match == nil || !d.accepts(t, match[1]) {
		t.Fatalf("the link is not in the mail:\n%s", body)
	}
	if left := d.left(t, match[1]); left < 86_000 {
		t.Errorf("the session ends in %d s", left)
	}
}
