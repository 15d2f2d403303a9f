package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// Bounds, so that a slip of the finger is no attack.
const (
	maxDuration    = 10 * time.Minute
	maxConnections = 500
	// maxRemoteRate is for servers that are not on this machine.
	maxRemoteRate = 1000
)

type options struct {
	base       string
	apiKey     string
	customerID string
	// duration is of the whole run.
	duration    time.Duration
	connections int
	// rate is requests in a second, 0 for as many as are answered.
	rate float64
}

func parseOptions(args []string, talk io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(talk)
	base := flags.String("url", "http://127.0.0.1:8080", "the server's public `URL`")
	keyFile := flags.String("api-key-file", "", "`file` with an API key that may create sessions")
	allowed := flags.String("allow-host", "", "the `host` of the URL, if it is not this machine; needs https and --rate")
	flags.StringVar(&o.customerID, "customer-id", "", "`ID` of a customer that the key's organization has")
	flags.DurationVar(&o.duration, "duration", 20*time.Second, "how long all of it takes, at most 10m")
	flags.IntVar(&o.connections, "connections", 2, "how many requests are under way at once, at most 500")
	flags.Float64Var(&o.rate, "rate", 0, "most requests a second; 0 for as many as are answered")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	if err := errors.Join(o.checkBounds(), o.setBase(*base, *allowed)); err != nil {
		return o, err
	}
	return o, o.readKey(*keyFile)
}

func (o *options) checkBounds() error {
	switch {
	case o.customerID == "":
		return errors.New("--customer-id is missing")
	case o.duration < time.Second || o.duration > maxDuration:
		return errors.New("--duration is not between 1s and 10m")
	case o.connections < 1 || o.connections > maxConnections:
		return errors.New("--connections is not between 1 and 500")
	case o.rate < 0:
		return errors.New("--rate is negative")
	}
	return nil
}

// setBase accepts a URL of this machine, and one of another machine only if it
// is named twice: a load test of a server that is not yours is an attack.
func (o *options) setBase(base, allowed string) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("--url is not an http or https URL without user and query")
	}
	o.base = strings.TrimSuffix(base, "/")
	switch {
	case isLoopback(u.Hostname()):
		return nil
	case allowed != u.Hostname():
		return fmt.Errorf("%s is not this machine; if you may put load on it, say --allow-host %s", u.Hostname(), u.Hostname())
	case u.Scheme != "https":
		return errors.New("--url is not https, and the API key would go over the network in clear")
	case o.rate == 0 || o.rate > maxRemoteRate:
		return fmt.Errorf("--rate is not between 1 and %d, which it must be for another machine", maxRemoteRate)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (o *options) readKey(file string) error {
	if file == "" {
		return errors.New("--api-key-file is missing")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the API key: %w", err)
	}
	o.apiKey = string(bytes.TrimSpace(text))
	if o.apiKey == "" || strings.ContainsAny(o.apiKey, " \t\r\n") {
		return errors.New("reading the API key: the file does not hold one word")
	}
	return nil
}
