package demo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/secret"
	"github.com/customersession/customersession/verify"
)

const (
	linkPath     = "/shop/link"
	recoveryPath = "/shop/recovery"
	// What the shop's page offers.
	hour   = 3600
	minute = 60
)

// A shop is the merchant's side: its checkout asks the issuer for sessions, and
// it sends mails.
type shop struct {
	base       string
	keys       map[string]secret.Text // of the API, by what links hold
	webhookKey []byte
	customers  customers.Directory
	groups     []group
	pages      *pages
	client     *http.Client
	out        io.Writer // is the terminal
}

// A group is a part of the list of those who can sign in: a team, or all
// customers that are none.
type group struct {
	Team   string
	People []person
}

// A person can sign in: a customer, or a member of a team.
type person struct {
	Name       string `json:"name"`
	Email      string `json:"email"`
	Role       string `json:"role"`
	ExternalID string `json:"external_id"`
	Value      string `json:"-"` // of the button
}

// readGroups reads a customers file.
func readGroups(lines string) ([]group, error) {
	groups := []group{{}}
	for line := range strings.Lines(lines) {
		var customer struct {
			person

			Members []person `json:"members"`
		}
		if err := json.Unmarshal([]byte(line), &customer); err != nil {
			return nil, err
		}
		if len(customer.Members) == 0 {
			customer.Value = customer.ExternalID
			groups[0].People = append(groups[0].People, customer.person)
			continue
		}
		team := group{Team: customer.Name, People: customer.Members}
		for i := range team.People {
			team.People[i].Value = customer.ExternalID + "/" + team.People[i].ExternalID
		}
		groups = append(groups, team)
	}
	return groups, nil
}

// start shows who can sign in, with a button each.
func (s *shop) start(w http.ResponseWriter, r *http.Request) {
	s.pages.show(w, r, http.StatusOK, "start", s.groups)
}

// A sessionRequest is the body of the call that creates a session.
type sessionRequest struct {
	ExternalCustomerID string `json:"external_customer_id,omitempty"`
	ExternalMemberID   string `json:"external_member_id,omitempty"`
	CustomerID         string `json:"customer_id,omitempty"`
	MemberID           string `json:"member_id,omitempty"`
	ReturnURL          string `json:"return_url"`
	ExpiresIn          int    `json:"expires_in"`
}

// link creates a session and opens its link, as a checkout would for a customer
// who is signed in to the shop.
func (s *shop) link(w http.ResponseWriter, r *http.Request) {
	body := sessionRequest{ReturnURL: s.base + "/", ExpiresIn: hour}
	body.ExternalCustomerID, body.ExternalMemberID, _ = strings.Cut(r.PostFormValue("customer"), "/")
	if r.PostFormValue("expires_in") == "60" {
		body.ExpiresIn = minute
	}
	link, err := s.createSession(r.Context(), cmp.Or(r.PostFormValue("link"), linkToken), body)
	if err != nil {
		fmt.Fprintf(s.out, "creating a session: %v\n", err)
		s.pages.tell(w, r, http.StatusBadGateway, "refused", backToShop())
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", link)
	w.WriteHeader(http.StatusSeeOther)
}

// createSession makes the call that a checkout makes.
func (s *shop) createSession(ctx context.Context, kind string, body sessionRequest) (link string, err error) {
	key, ok := s.keys[kind]
	if !ok {
		return "", errors.New("a link holds a token or a code")
	}
	text, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/customer-sessions/", bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+key.Reveal())
	request.Header.Set("Content-Type", "application/json")
	var session struct {
		Link string `json:"customer_portal_url"`
	}
	err = call(s.client, request, http.StatusCreated, &session)
	return session.Link, err
}

// call makes a call of the API. The answer must have the status, and is JSON unless
// it is nil.
func call(client *http.Client, request *http.Request, status int, answer any) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != status {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("status is %s: %s", response.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

// sendLink sends a mail with a new link to the customer or member of a session that
// has expired, or soon will.
func (s *shop) sendLink(ctx context.Context, session *verify.Session) error {
	kind := linkToken
	if session.OrganizationID == codesOrganizationID {
		kind = linkCode
	}
	link, err := s.createSession(ctx, kind, sessionRequest{
		CustomerID: session.CustomerID, MemberID: session.MemberID, ReturnURL: s.base + "/", ExpiresIn: hour,
	})
	if err != nil {
		return err
	}
	email, err := s.address(ctx, session)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "\nMail to %s\n  Your new link to the portal:\n  %s\n", email, link)
	return err
}

// address returns the e-mail address of a session's customer or member.
func (s *shop) address(ctx context.Context, session *verify.Session) (string, error) {
	query, err := queryFor(session)
	if err != nil {
		return "", err
	}
	customer, err := s.customers.Find(ctx, query)
	switch {
	case err != nil:
		return "", err
	case session.MemberID == "":
		return *customer.Email, nil
	}
	member, err := s.customers.FindMember(ctx, query, customer)
	if err != nil {
		return "", err
	}
	return member.Email, nil
}

// recovery receives the issuer's webhook: the holder of an expired link wants a new
// one. It verifies the signature as Standard Webhooks 1.0 says; a real shop uses a
// library of that project, and ignores an event whose webhook-id it knows, so that a
// customer gets few mails.
func (s *shop) recovery(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<14))
	if err != nil || !s.signed(r.Header, body) {
		http.Error(w, "the signature is not valid", http.StatusUnauthorized)
		return
	}
	var event struct {
		Data struct {
			OrganizationID string `json:"organization_id"`
			CustomerID     string `json:"customer_id"`
			MemberID       string `json:"member_id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "the event is not JSON", http.StatusBadRequest)
		return
	}
	err = s.sendLink(r.Context(), &verify.Session{
		OrganizationID: event.Data.OrganizationID, CustomerID: event.Data.CustomerID, MemberID: event.Data.MemberID,
	})
	if err != nil {
		fmt.Fprintf(s.out, "sending a new link: %v\n", err)
		http.Error(w, "the mail could not be sent", http.StatusBadGateway)
	}
}

// signed reports whether the issuer has signed an event in the last five minutes.
func (s *shop) signed(header http.Header, body []byte) bool {
	timestamp := header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, s.webhookKey)
	mac.Write([]byte(header.Get("Webhook-Id") + "." + timestamp + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return slices.Contains(strings.Fields(header.Get("Webhook-Signature")), want)
}
