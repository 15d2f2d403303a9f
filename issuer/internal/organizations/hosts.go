package organizations

import (
	"slices"

	"github.com/customersession/customersession/issuer/internal/weburl"
)

// AllowsReturnURL reports whether a session may have a return URL with this
// host, as [weburl.URL.Host] returns it. Without a list, all are allowed.
func (o *Organization) AllowsReturnURL(host string) bool {
	return o.returnHosts == nil || slices.Contains(o.returnHosts, host)
}

// returnHosts reads the hosts that return URLs may name, nil when the list is
// absent.
func (p *parser) returnHosts(o object) []string {
	const name = "return_url_hosts"
	var hosts []string
	for i, value := range o.list(name) {
		at := element(o.path(name), i)
		host, ok := value.(string)
		if !ok {
			p.problems.add(at, "must be a string")
			continue
		}
		if err := weburl.CheckHost(host); err != nil {
			p.problems.add(at, "%s %w", quote(host), err)
		}
		hosts = append(hosts, host)
	}
	if len(hosts) == 0 && !o.absent(name) {
		p.problems.add(o.path(name), "at least one is needed; leave it out to allow all")
	}
	return hosts
}
