package verify_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// A feedEnd answers requests for the feed, and leaves the others to a publisher.
type feedEnd struct {
	*publisher

	feed answer
}

func (f *feedEnd) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == wire.RevocationsPath {
		return f.feed(r)
	}
	return f.publisher.RoundTrip(r)
}

// newFeedEnd returns a verifier whose feed gives that answer.
func newFeedEnd(t *testing.T, s *signer, feed answer, config verify.Config) *verify.Verifier {
	t.Helper()
	p := &publisher{}
	p.set(reply(200, publish(t, s)))
	return newFetching(t, &feedEnd{p, feed}, config)
}

const goodFeed = `{"issuer":"` + testIssuer + `","enabled":true,"log":"L","seq":3,"after":0,"max_age":900,"pause":1,` +
	`"revoked":[{"scope":"session","id":"AAECAwQFBgcICQoLDA0ODw","drop_at":4102444800},` +
	`{"scope":"customer","id":"AAECAwQFBgcICQoLDA0ODw","issued_before":946684801,"drop_at":4102444800,"note":[1]}],` +
	`"revoked_keys":["k1"]}`

// An answer is read strictly, and refused as a whole.
func TestFeedDocument(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	swap := func(old, other string) func(string) string {
		return func(body string) string {
			if !strings.Contains(body, old) {
				t.Errorf("there is no %s", old)
			}
			return strings.Replace(body, old, other, 1)
		}
	}
	same := func(body string) string { return body }
	for name, tc := range map[string]struct {
		change func(string) string
		age    string
		want   string
	}{
		"good":                           {same, "0.4", ""},
		"a whole age":                    {same, "12", ""},
		"an unknown member":              {swap(`{`, `{"later":{"a":[true]},`), "0", ""},
		"an unknown scope":               {swap(`"scope":"session","id":"AAECAwQFBgcICQoLDA0ODw"`, `"scope":"device","id":{"x":1}`), "0", ""},
		"white space":                    {swap(`{`, " \n{\t"), "0", ""},
		"no age":                         {same, "", "document"},
		"a negative age":                 {same, "-1", "document"},
		"an age with an exponent":        {same, "1e9", "document"},
		"an age in words":                {same, "NaN", "document"},
		"an age with a unit":             {same, "1m", "document"},
		"two points":                     {same, "1.2.3", "document"},
		"an age of years":                {same, "99999999", "number"},
		"an age beyond numbers":          {same, strings.Repeat("9", 30), "document"},
		"no issuer":                      {swap(`"issuer"`, `"issue"`), "0", "document"},
		"the log's name is a number":     {swap(`"L"`, `7`), "0", "document"},
		"enabled is a string":            {swap(`true`, `"true"`), "0", "document"},
		"seq is a fraction":              {swap(`"seq":3`, `"seq":3.5`), "0", "document"},
		"seq is a string":                {swap(`"seq":3`, `"seq":"3"`), "0", "document"},
		"seq is negative":                {swap(`"seq":3`, `"seq":-3`), "0", "number"},
		"seq beyond numbers":             {swap(`"seq":3`, `"seq":9223372036854775808`), "0", "document"},
		"no pause":                       {swap(`"pause":1,`, ``), "0", "document"},
		"revoked is null":                {swap(`"revoked_keys":["k1"]`, `"revoked_keys":null`), "0", "document"},
		"keys are numbers":               {swap(`["k1"]`, `[1]`), "0", "document"},
		"an entry is a string":           {swap(`"revoked":[`, `"revoked":["x",`), "0", "document"},
		"an entry without a scope":       {swap(`"scope":"session",`, ``), "0", "document"},
		"an entry without an ID":         {swap(`"id":"AAECAwQFBgcICQoLDA0ODw",`, ``), "0", "document"},
		"an ID of 15 bytes":              {swap(`AAECAwQFBgcICQoLDA0ODw`, `AAECAwQFBgcICQoLDA0O`), "0", "document"},
		"an ID in another spelling":      {swap(`AAECAwQFBgcICQoLDA0ODw`, `AAECAwQFBgcICQoLDA0ODx`), "0", "document"},
		"an entry without an end":        {swap(`,"drop_at":4102444800`, ``), "0", "number"},
		"a customer without a time":      {swap(`"issued_before":946684801,`, ``), "0", "number"},
		"a time as a string":             {swap(`946684801`, `"946684801"`), "0", "document"},
		"a name twice":                   {swap(`{`, `{"seq":9,`), "0", "document"},
		"a name twice in an entry":       {swap(`{"scope":"session"`, `{"scope":"session","scope":"device"`), "0", "document"},
		"a name twice, escaped":          {swap(`{`, `{"\u0073eq":9,`), "0", "document"},
		"bytes after it":                 {func(body string) string { return body + "{}" }, "0", "document"},
		"not UTF-8":                      {swap(`k1`, "k\xff"), "0", "document"},
		"an array":                       {func(body string) string { return "[" + body + "]" }, "0", "document"},
		"nothing":                        {func(string) string { return "" }, "0", "document"},
		"nested too deeply":              {swap(`{`, `{"a":[[[[[[[[1]]]]]]]],`), "0", "document"},
		"16 MiB and a byte":              {func(body string) string { return body + strings.Repeat(" ", 16<<20+1-len(body)) }, "0", "too_large"},
		"16 MiB":                         {func(body string) string { return body + strings.Repeat(" ", 16<<20-len(body)) }, "0", ""},
		"an entry of the distant future": {swap(`"drop_at":4102444800`, `"drop_at":253402300800`), "0", "number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := tc.change(goodFeed)
			synctest.Test(t, func(t *testing.T) {
				v := newFeedEnd(t, s, func(r *http.Request) (*http.Response, error) {
					return reply(200, body, wire.RevocationsAge, tc.age, wire.RevocationsNonce, r.URL.Query().Get("nonce"))(r)
				}, verify.Config{})
				want := error(nil)
				if tc.want != "" {
					want = verify.ErrRevocationsUnavailable
				}
				check(t, v, s, want)
				if h := v.Health().Revocations; h.LastError != tc.want || (h.Refused[tc.want] == 1) != (tc.want != "") {
					t.Errorf("health is %+v, want %q", h, tc.want)
				}
			})
		})
	}
}

// What goes over the wire: the questions, and the ways in which an answer is packed.
func TestFeedRequest(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	packed := func(body string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(body))
		_ = z.Close()
		return b.String()
	}
	synctest.Test(t, func(t *testing.T) {
		var asked []url.Values
		heard := &listener{}
		nonces := map[string]bool{}
		v := newFeedEnd(t, s, func(r *http.Request) (*http.Response, error) {
			query := r.URL.Query()
			asked = append(asked, query)
			if r.Method != http.MethodGet || r.Header.Get("Accept-Encoding") != "gzip" || r.Header.Get("Authorization") != "" {
				t.Errorf("got %s with %v", r.Method, r.Header)
			}
			if nonce := query.Get("nonce"); len(nonce) < 20 || nonces[nonce] {
				t.Errorf("the nonce is %q", nonce)
			}
			nonces[query.Get("nonce")] = true
			answer := []string{wire.RevocationsAge, "0", wire.RevocationsNonce, query.Get("nonce")}
			if query.Get("wait") != "" {
				time.Sleep(25 * time.Second)
			}
			switch len(asked) {
			case 1:
				return reply(200, packed(goodFeed), append(answer, "Content-Encoding", "gzip")...)(r)
			case 2:
				return reply(200, goodFeed, append(answer, "Content-Encoding", "identity")...)(r)
			case 3:
				return reply(200, goodFeed, append(answer, "Content-Encoding", "br")...)(r)
			case 4:
				return reply(200, packed(goodFeed)[:100], append(answer, "Content-Encoding", "gzip")...)(r)
			case 5:
				return reply(200, goodFeed, append(answer, "Content-Encoding", "gzip")...)(r)
			case 6:
				return reply(302, "", "Location", testIssuer+"/elsewhere")(r)
			default:
				return reply(200, goodFeed, answer...)(r)
			}
		}, verify.Config{Observer: heard})
		check(t, v, s, nil)
		time.Sleep(2*time.Minute + time.Second/2)
		v.Close()
		var words []string
		for _, answer := range heard.answers[:8] {
			words = append(words, answer.Result)
		}
		if got := strings.Join(words, ","); got != "ok,ok,document,connection,document,status,ok,ok" {
			t.Errorf("the results were %q", got)
		}
		for i, want := range []string{"after=0", "after=3&log=L&wait=25", "after=3&log=L&wait=25", "after=3&log=L", "after=3&log=L", "after=3&log=L", "after=3&log=L", "after=3&log=L&wait=25"} {
			asked[i].Del("nonce")
			if got := asked[i].Encode(); got != want {
				t.Errorf("request %d: got %s, want %s", i+1, got, want)
			}
		}
	})
}

// An endless answer is read no further than its limit, packed or not.
func TestFeedEndless(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	for _, packed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var read atomic.Int64
			v := newFeedEnd(t, s, func(r *http.Request) (*http.Response, error) {
				response, err := reply(200, "", wire.RevocationsAge, "0", wire.RevocationsNonce, r.URL.Query().Get("nonce"))(r)
				var body io.Reader = &whiteSpace{read: &read}
				if packed {
					response.Header.Set("Content-Encoding", "gzip")
					reader, writer := io.Pipe()
					go func() {
						z := gzip.NewWriter(writer)
						_, err := io.Copy(z, body)
						_ = writer.CloseWithError(err)
					}()
					response.Body = reader
					return response, err
				}
				response.Body = io.NopCloser(body)
				return response, err
			}, verify.Config{})
			check(t, v, s, verify.ErrRevocationsUnavailable)
			if got := v.Health().Revocations.LastError; got != "too_large" {
				t.Errorf("packed %t: got %q", packed, got)
			}
			// Packing is ahead of unpacking by what is on the way.
			if n := read.Load(); n > 80<<20 {
				t.Errorf("packed %t: %d bytes were read", packed, n)
			}
		})
	}
}

// A whiteSpace reader has no end, but for a test that fails.
type whiteSpace struct{ read *atomic.Int64 }

func (e *whiteSpace) Read(b []byte) (int, error) {
	if e.read.Load() > 256<<20 {
		return 0, io.EOF
	}
	for i := range b {
		b[i] = ' '
	}
	e.read.Add(int64(len(b)))
	return len(b), nil
}

// The client's own time-out leaves room for the answer.
func TestFeedWaitsLessThanTheClient(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	for want, client := range map[string]http.Client{
		"25": {}, "8": {Timeout: 10 * time.Second}, "": {Timeout: 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			var waits []string
			p := &publisher{}
			p.set(reply(200, publish(t, s)))
			client.Transport = &feedEnd{p, func(r *http.Request) (*http.Response, error) {
				waits = append(waits, r.URL.Query().Get("wait"))
				return quietFeed(r)
			}}
			v := newFetching(t, nil, verify.Config{HTTPClient: &client})
			check(t, v, s, nil)
			time.Sleep(2 * time.Minute)
			v.Close()
			if len(waits) < 2 || waits[0] != "" || waits[1] != want {
				t.Errorf("got waits of %q, want %q", waits, want)
			}
			if err := v.Health().Revocations.LastError; err != "" {
				t.Errorf("%s: %s", want, err)
			}
		})
	}
}

// Callers for whom even a new answer is too old do not make a request each, and
// operators can see what is wrong.
func TestFeedOfOldAnswers(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		var log logbook
		v := newFeedEnd(t, s, func(r *http.Request) (*http.Response, error) {
			// A replica that is an hour behind, and hides nothing.
			requests.Add(1)
			return reply(200, goodFeed, wire.RevocationsAge, "3600", wire.RevocationsNonce, r.URL.Query().Get("nonce"))(r)
		}, verify.Config{Logger: log.logger()})
		for range 100 {
			if _, err := v.Verify(t.Context(), s.token(t, s.header(), payload())); !errors.Is(err, verify.ErrRevocationsUnavailable) {
				t.Fatalf("got %v", err)
			}
		}
		if n := requests.Load(); n > 2 {
			t.Errorf("100 callers made %d requests in no time", n)
		}
		time.Sleep(time.Minute)
		if n := requests.Load(); n > 70 {
			t.Errorf("%d requests in a minute", n)
		}
		if h := v.Health().Revocations; h.LastError != "old" || h.Entries == 0 || len(h.Refused) > 0 {
			t.Errorf("health is %+v", h)
		}
		if n := strings.Count(log.String(), "error=old"); n != 1 {
			t.Errorf("%d lines in the log: %s", n, &log)
		}
	})
}

// What is not gzip is a bad answer, and what ends too early a bad connection.
func TestFeedDamaged(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(goodFeed))
	_ = z.Close()
	flip := func(i int) string {
		damaged := bytes.Clone(b.Bytes())
		damaged[i] ^= 0x55
		return string(damaged)
	}
	for name, tc := range map[string]struct{ body, want string }{
		"header": {flip(0), "document"}, "data": {flip(30), "document"}, "checksum": {flip(b.Len() - 5), "document"},
		"more": {b.String() + "more", "connection"}, "much more": {b.String() + goodFeed, "document"}, "less": {b.String()[:b.Len()-9], "connection"},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := newFeedEnd(t, s, func(r *http.Request) (*http.Response, error) {
				return reply(200, tc.body, "Content-Encoding", "gzip", wire.RevocationsAge, "0", wire.RevocationsNonce, r.URL.Query().Get("nonce"))(r)
			}, verify.Config{})
			check(t, v, s, verify.ErrRevocationsUnavailable)
			if h := v.Health().Revocations; h.LastError != tc.want {
				t.Errorf("%s: the error is %q, want %q", name, h.LastError, tc.want)
			}
		})
	}
}

// A deadEnd is a client's transport with one connection, as HTTP/2 has.
type deadEnd struct {
	http.RoundTripper

	dead atomic.Bool
}

func (d *deadEnd) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.dead.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return d.RoundTripper.RoundTrip(r)
}

func (d *deadEnd) CloseIdleConnections() { d.dead.Store(false) }

// A connection on which nothing arrives any more is given up: a firewall may have
// forgotten it.
func TestFeedOnDeadConnection(t *testing.T) {
	t.Parallel()
	s := newSigner(t, jwk.ES256)
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{}
		p.set(reply(200, publish(t, s)))
		connection := &deadEnd{RoundTripper: &feedEnd{p, func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("wait") != "" {
				time.Sleep(25 * time.Second)
			}
			return quietFeed(r)
		}}}
		v := newFetching(t, connection, verify.Config{})
		check(t, v, s, nil)
		connection.dead.Store(true)
		time.Sleep(10 * time.Minute)
		if h := v.Health().Revocations; h.Age > 3*time.Minute || h.LastError != "" {
			t.Errorf("it does not recover: %+v", h)
		}
	})
}
