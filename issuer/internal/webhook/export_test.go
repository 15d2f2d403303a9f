package webhook

import "net/http"

// SetTransport lets s reach receivers another way.
func (s *Sender) SetTransport(transport http.RoundTripper) { s.client.Transport = transport }

// Transport returns the transport, whose settings a test completes.
func (s *Sender) Transport() *http.Transport {
	return s.client.Transport.(*http.Transport)
}
