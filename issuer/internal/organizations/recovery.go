package organizations

import (
	"net/url"
	"time"

	"github.com/customersession/customersession/issuer/internal/loopback"
	"github.com/customersession/customersession/issuer/internal/weburl"
)

// How long after its end a session can be recovered.
const (
	defaultRecoveryAge = 168 * time.Hour
	longestRecoveryAge = 720 * time.Hour
)

// A Recovery is how an organization hears that the holder of an expired link wants
// a new one.
type Recovery struct {
	// WebhookURL gets the event, https or on loopback.
	WebhookURL string
	// SecretFile holds the secret that the event is signed with.
	SecretFile string
	// MaxAge is how long after its end a session can be recovered.
	MaxAge time.Duration
}

// supportURL reads the page that helps customers, empty when it is absent.
func (p *parser) supportURL(o object) string {
	const name = "support_url"
	if o.absent(name) {
		return ""
	}
	text, ok := o.text(name)
	if !ok {
		return ""
	}
	u, err := weburl.Parse(text)
	if err != nil {
		p.problems.add(o.path(name), "must be the address of a web page: %w", err)
	}
	return u.String()
}

// recovery reads how expired links are recovered, nil when it is absent.
func (p *parser) recovery(organization object) *Recovery {
	const name = "recovery"
	if organization.absent(name) {
		return nil
	}
	o, ok := p.problems.object(organization.path(name), organization.members[name], "webhook_url", "secret_file", "max_age")
	if !ok {
		return nil
	}
	r := &Recovery{MaxAge: p.recoveryAge(o)}
	if text, ok := o.text("webhook_url"); ok {
		if problem := webhookProblem(text); problem != "" {
			p.problems.add(o.path("webhook_url"), "%s", problem)
		}
		r.WebhookURL = text
	}
	if text, ok := o.text("secret_file"); ok {
		if text == "" {
			p.problems.add(o.path("secret_file"), "is empty; it is the path of a file that holds the secret")
		}
		r.SecretFile = text
	}
	return r
}

// webhookProblem returns what is wrong with the URL of a webhook, or "". It does not
// repeat the URL, which may hold a secret.
func webhookProblem(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return "must be a URL such as https://shop.example.com/hooks/recovery"
	case u.User != nil || u.Fragment != "":
		return "must have no user, no password and no fragment"
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())):
		return "must be https; http is for loopback only"
	}
	return ""
}

func (p *parser) recoveryAge(o object) time.Duration {
	const name = "max_age"
	if o.absent(name) {
		return defaultRecoveryAge
	}
	text, ok := o.text(name)
	if !ok {
		return 0
	}
	age, err := time.ParseDuration(text)
	if err != nil || age <= 0 || age > longestRecoveryAge {
		p.problems.add(o.path(name), `%s is not a duration of at most 720h, such as "168h"`, quote(text))
	}
	return age
}
