package issuer_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkCrowd has 1,000 connections create sessions for 10 seconds at the
// production server, twice. No request may fail, and what the second time
// needs the first one has freed.
func BenchmarkCrowd(b *testing.B) {
	const connections = 1000
	p := serve(b, install(b, "https://sessions.example.com"), "CUSTOMERSESSION_KEY_RATE=0",
		"CUSTOMERSESSION_CONNECTIONS=4000", "CUSTOMERSESSION_CONNECTIONS_PER_ADDRESS=4000")
	body := `{"customer_id":"` + customerID + `"}`
	request := fmt.Appendf(nil, "POST /v1/customer-sessions/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", p.secret, len(body), body)
	for b.Loop() {
		idle := residentKiB(b, p.process)
		sessions := crowd(b, strings.TrimPrefix(p.public.base, "http://"), request, connections)
		first := residentKiB(b, p.process)
		sessions += crowd(b, strings.TrimPrefix(p.public.base, "http://"), request, connections)
		second := residentKiB(b, p.process)
		if second > first+first/4 {
			b.Errorf("%d KiB resident after the first crowd, %d after the second: memory is not freed", first, second)
		}
		b.ReportMetric(float64(sessions), "sessions")
		b.ReportMetric(float64(idle)/1024, "MiB-idle")
		b.ReportMetric(float64(first)/1024, "MiB-first")
		b.ReportMetric(float64(second)/1024, "MiB-second")
	}
	b.ReportMetric(0, "ns/op")
}

// crowd sends requests on so many connections at once for 10 seconds, and
// returns how many were answered.
func crowd(b *testing.B, addr string, request []byte, connections int) int {
	b.Helper()
	const batch = 5
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	answered := 0
	for range connections {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := send(context.WithoutCancel(ctx), addr, request, batch); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				answered += batch
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answered
}
