package issuer_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/issuer/internal/customers"
	"github.com/customersession/customersession/issuer/internal/revocations"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

// ofOwner asks for a session of the team's owner.
const ofOwner = `{"customer_id":"` + teamID + `","member_id":"` + ownerID + `"}`

// ofColleague asks for a session of another member of the team.
const ofColleague = `{"customer_id":"` + teamID + `","member_id":"` + colleagueID + `"}`

// A member is named by either ID, for a team and for any other customer. Both the
// claims and introspection show the member, and the answer stays as it is.
func TestMemberSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, test := range map[string]struct{ body, member, role string }{
		"ID":                 {ofOwner, ownerID, "owner"},
		"external ID":        {`{"external_customer_id":"bletchley","external_member_id":"` + externalOwnerID + `"}`, ownerID, "owner"},
		"ID and external ID": {`{"customer_id":"` + teamID + `","external_member_id":"` + externalOwnerID + `"}`, ownerID, "owner"},
		"both: the ID wins":  {`{"customer_id":"` + teamID + `","member_id":"` + colleagueID + `","external_member_id":"` + externalOwnerID + `"}`, colleagueID, "member"},
		"of an individual":   {`{"customer_id":"` + otherCustomerID + `","member_id":"8b7c6d5e-4f3a-4b2c-8d1e-9f0a1b2c3d50"}`, "8b7c6d5e-4f3a-4b2c-8d1e-9f0a1b2c3d50", "billing_manager"},
		"none":               {`{"customer_id":"` + otherCustomerID + `"}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			session := f.create(t, test.body)
			members := session.members(t)
			if customer, _ := members["customer"].(map[string]any); len(members) != 9 || customer["members"] != nil {
				t.Errorf("the answer has other members: %s", session.body)
			}
			token := session.text(t, "token")
			introspection := f.do(t, http.MethodPost, "/oauth2/introspect", "token="+token,
				"Authorization", "Bearer "+f.secret, "Content-Type", "application/x-www-form-urlencoded").members(t)
			for where, members := range map[string]map[string]any{"claims": claims(t, token), "introspection": introspection} {
				id, _ := members["member_id"].(string)
				role, _ := members["role"].(string)
				if _, has := members["role"]; id != test.member || role != test.role || has != (test.role != "") {
					t.Errorf("%s: got %v", where, members)
				}
			}
		})
	}
}

// The problems are those of Polar's server, with the same words.
func TestMemberRefused(t *testing.T) {
	t.Parallel()
	const required, absent = "member_id is required for team customers.", "Member does not exist for this customer."
	team := func(members string) string { return `{"customer_id":"` + teamID + `"` + members + `}` }
	polar := func(member, msg string, input any) map[string]any {
		return map[string]any{"error": "PolarRequestValidationError", "detail": []any{
			map[string]any{"type": "value_error", "loc": []any{"body", member}, "msg": msg, "input": input},
		}}
	}
	f := newFixture(t)
	for name, test := range map[string]struct {
		body string
		want map[string]any
	}{
		"team without a member":    {team(""), polar("member_id", required, nil)},
		"team with null":           {team(`,"member_id":null,"external_member_id":null`), polar("member_id", required, nil)},
		"unknown ID":               {team(`,"member_id":"` + unknownID + `"`), polar("member_id", absent, unknownID)},
		"unknown external ID":      {team(`,"external_member_id":"nobody"`), polar("external_member_id", absent, "nobody")},
		"unknown ID, known other":  {team(`,"member_id":"` + unknownID + `","external_member_id":"user_mavis"`), polar("member_id", absent, unknownID)},
		"another customer's":       {`{"customer_id":"` + customerID + `","member_id":"` + ownerID + `"}`, polar("member_id", absent, ownerID)},
		"another organization's":   {team(`,"member_id":"` + foreignMemberID + `"`), polar("member_id", absent, foreignMemberID)},
		"external, another's":      {team(`,"external_member_id":"user_tommy"`), polar("external_member_id", absent, "user_tommy")},
		"deleted":                  {team(`,"external_member_id":"user_hugh"`), polar("external_member_id", absent, "user_hugh")},
		"customer deleted":         {`{"customer_id":"` + deletedID + `","member_id":"` + ownerID + `"}`, polar("customer_id", "Customer does not exist.", deletedID)},
		"individual without any":   {`{"customer_id":"` + customerID + `","external_member_id":"user_mavis"}`, polar("external_member_id", absent, "user_mavis")},
		"team, by its external ID": {`{"external_customer_id":"bletchley"}`, polar("member_id", required, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := f.post(t, f.secret, test.body)
			if a.status != http.StatusUnprocessableEntity || !reflect.DeepEqual(a.members(t), test.want) {
				t.Errorf("got %d %s, want 422 %v", a.status, a.body, test.want)
			}
		})
	}
	checkRequests(t, f, []requestCase{
		{"number", team(`,"member_id":1`), "", ": string_type body.member_id"},
		{"no UUID", team(`,"member_id":"m"`), "", ": uuid_parsing body.member_id"},
		{"nil UUID", team(`,"member_id":"00000000-0000-0000-0000-000000000000"`), "", ": uuid_parsing body.member_id"},
		{"external number", team(`,"external_member_id":1`), "", ": string_type body.external_member_id"},
		{"external empty", team(`,"external_member_id":""`), "", ": value_error body.external_member_id"},
		{"external NUL", team(`,"external_member_id":"\u0000"`), "", ": value_error body.external_member_id"},
		{"external too long", team(`,"external_member_id":"` + strings.Repeat("é", 256) + `"`), "", ": string_too_long body.external_member_id"},
	})
}

// The audit event names the member, and nothing else about one.
func TestMemberAudit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create(t, ofOwner)
	f.createAny(t)
	f.shutdown()
	var members []any
	for line := range strings.Lines(f.logs.String()) {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		if event["msg"] == "session issued" {
			members = append(members, event["member_id"])
		}
	}
	if !reflect.DeepEqual(members, []any{ownerID, nil}) {
		t.Errorf("the events have the members %v", members)
	}
	for _, secret := range []string{"joan", "Joan"} {
		if strings.Contains(f.logs.String(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
}

// The holder of a member's token sees the member as the directory has it now, and
// none once the member or the customer is gone.
func TestPortalMember(t *testing.T) {
	t.Parallel()
	directory := newSwitch(newDirectory(t))
	f := newFixture(t, func(o *fixtureOptions) { o.directory = directory })
	token := f.create(t, ofOwner).text(t, "token")
	check := func(when string, name any, email, role string) {
		t.Helper()
		a := f.portal(t, "user", token)
		want := map[string]any{
			"type": "member", "name": name, "email": email, "customer_id": teamID, "member_id": ownerID, "role": role,
		}
		if a.status != http.StatusOK || !reflect.DeepEqual(a.members(t), want) || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d %s, want 200 %v", when, a.status, a.body, want)
		}
	}
	team := func(more string) string {
		return `{"id":"` + teamID + `","organization_id":"` + orgID + `","type":"team"` + more + "}\n"
	}
	check("as issued", "Joan Clarke", "joan@example.com", "owner")
	directory.use(t, team(`,"members":[{"id":"`+ownerID+`","email":"clarke@example.com","role":"member"}]`))
	check("demoted", nil, "clarke@example.com", "member")
	if role := claims(t, token)["role"]; role != "owner" {
		t.Errorf("the token has the role %v, want that of the time of issue", role)
	}
	for name, lines := range map[string]string{
		"removed":          team(`,"members":[{"id":"` + colleagueID + `","email":"mavis@example.com"}]`),
		"no members":       team(""),
		"member deleted":   team(`,"members":[{"id":"` + ownerID + `","email":"joan@example.com","deleted_at":"2026-01-02T03:04:05Z"}]`),
		"customer deleted": team(`,"deleted_at":"2026-01-02T03:04:05Z","members":[{"id":"` + ownerID + `","email":"joan@example.com"}]`),
		"customer gone":    "",
	} {
		directory.use(t, lines)
		if a := f.portal(t, "user", token); a.status != http.StatusUnauthorized || a.text(t, "error") != "invalid_token" {
			t.Errorf("%s: got %d %s, want 401", name, a.status, a.body)
		}
	}
}

// A customer that is stated has the members that are stated with it.
func TestStatedMember(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(o *fixtureOptions) { o.directory = customers.Request{} })
	stated := func(more string) string {
		return `{"customer_id":"` + teamID + `",` + more + `"customer":{"type":"team","members":[{"id":"` + ownerID + `","email":"joan@example.com","role":"owner"}]}}`
	}
	token := f.create(t, stated(`"member_id":"`+ownerID+`",`)).text(t, "token")
	if c := claims(t, token); c["member_id"] != ownerID || c["role"] != "owner" {
		t.Errorf("the claims are %v", c)
	}
	if a := f.portal(t, "user", token); a.status != http.StatusNotFound {
		t.Errorf("the user: got %d %s, want 404", a.status, a.body)
	}
	checkRequests(t, f, []requestCase{
		{"none named", stated(""), "", "Polar: value_error body.member_id"},
		{"another", stated(`"member_id":"` + colleagueID + `",`), "", "Polar: value_error body.member_id"},
		{
			"bad", `{"customer_id":"` + teamID + `","member_id":"` + ownerID + `","customer":{"type":"team","members":[{"id":"` + ownerID + `","email":"x","role":"boss"}]}}`, "",
			": value_error body.customer.members.0.email enum body.customer.members.0.role",
		},
	})
}

// A directory without members says what to do about it.
func TestNoMembers(t *testing.T) {
	t.Parallel()
	directory := newDirectory(t)
	f := newFixture(t, func(o *fixtureOptions) { o.directory = directoryFunc(directory.Find) })
	a := f.post(t, f.secret, ofOwner)
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), "CUSTOMERSESSION_CUSTOMERS_QUERY_MEMBERS is not set") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// A member's sessions that are ended at one server are refused by a verifier that
// follows another one, within two seconds, and no colleague's. A new session of the
// member waits until it is not ended, too; a colleague's does not wait.
func TestEndingMemberReachesVerifiers(t *testing.T) {
	t.Parallel()
	log := revocations.NewMemory()
	f := newFixture(t, withLog(log))
	replica := newFixture(t, withLog(log), func(o *fixtureOptions) {
		o.ring = f.ring
		change := o.change
		o.change = func(c *issuer.Config) {
			change(c)
			c.Issuer = f.base
		}
	})
	f.feed(t, "")
	verifier, err := verify.New(verify.Config{
		Issuer: f.base, Audience: issuer.DefaultAudience,
		JWKSetURL: replica.base + "/.well-known/jwks.json", RevocationsURL: replica.base + wire.RevocationsPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	owner, again, colleague := f.create(t, ofOwner).text(t, "token"), f.create(t, ofOwner).text(t, "token"), f.create(t, ofColleague).text(t, "token")
	for _, token := range []string{owner, again, colleague} {
		session, err := verifier.Verify(t.Context(), token)
		if err != nil || session.MemberID != claims(t, token)["member_id"] || session.Role != claims(t, token)["role"] {
			t.Fatalf("got %+v, %v", session, err)
		}
	}
	if a := f.revoke(t, f.revokeOnly, `{"member_id":"`+ownerID+`"}`); a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	start := time.Now()
	for _, token := range []string{owner, again} {
		for err = nil; err == nil && time.Since(start) < 5*time.Second; {
			_, err = verifier.Verify(t.Context(), token)
		}
		if took := time.Since(start); !errors.Is(err, verify.ErrRevoked) || took > 2*time.Second {
			t.Errorf("the member's session: got %v after %v, want ErrRevoked within 2s", err, took)
		}
	}
	if _, err := verifier.Verify(t.Context(), colleague); err != nil {
		t.Errorf("the colleague's session: %v", err)
	}
	start = time.Now()
	f.create(t, ofColleague)
	if took := time.Since(start); took > time.Second {
		t.Errorf("the colleague waited %v for a session", took)
	}
	token := f.create(t, ofOwner).text(t, "token")
	if _, err := verifier.Verify(t.Context(), token); err != nil {
		t.Errorf("the member's new session, after %v: %v", time.Since(start), err)
	}
}
