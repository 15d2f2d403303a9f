//go:build unix

package deploy_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customersession/customersession/deploy/rig/kube"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify/verifytest"
)

// A kubeGateway is an API server that takes sessions for users.
type kubeGateway struct {
	rotating

	address string
	client  *http.Client
}

// newKubeIssuer returns an issuer at an https address, as an API server wants
// it, and the certificate of that.
func newKubeIssuer(t *testing.T, config verifytest.Config) (issuer *verifytest.Issuer, certificate string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		issuer.Handler().ServeHTTP(w, r)
	}))
	config.Issuer = "https://" + server.Listener.Addr().String()
	issuer = verifytest.NewIssuer(t, config)
	server.StartTLS()
	t.Cleanup(server.Close)
	block := pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	return issuer, string(pem.EncodeToMemory(&block))
}

// startKube runs an API server until the test ends. It returns when that has
// fetched the issuer's keys, which it does in the background.
func startKube(t *testing.T, issuer *verifytest.Issuer, certificate string) *kubeGateway {
	t.Helper()
	cluster := kube.StartForTest(t, "../.ci/cache")
	certificate = strings.ReplaceAll(strings.TrimSpace(certificate), "\n", "\n      ")
	config := gatewayConfig(t, "kubernetes-authentication.yaml", "url: "+pageIssuer, "url: "+issuer.URL()+
		"\n    certificateAuthority: |\n      "+certificate)
	if err := os.WriteFile(cluster.File("authentication.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	k := &kubeGateway{address: kube.FreeAddress()}
	k.rotating = rotating{issuer: issuer, verdict: k.review}
	k.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, // its certificate is of its own making
	}}}
	token := issuer.Token(verifytest.TokenSpec{})
	cluster.ServeForTest(t, k.address, func() bool { return k.verdict(token) == accepted },
		"--authentication-config", cluster.File("authentication.yaml"))
	return k
}

// review asks the API server who one is.
func (k *kubeGateway) review(token string) string {
	request, err := http.NewRequest(http.MethodPost, "https://"+k.address+"/apis/authentication.k8s.io/v1/selfsubjectreviews",
		strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`))
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := k.client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return err.Error()
	}
	switch response.StatusCode {
	case http.StatusCreated:
		return kubeUser(body.Bytes())
	case http.StatusUnauthorized:
		return refused
	default:
		return response.Status + ": " + body.String()
	}
}

// kubeUser is the verdict about somebody who was let in.
func kubeUser(review []byte) string {
	var answer struct {
		Status struct {
			UserInfo struct {
				Username string
				Groups   []string
				Extra    map[string][]string
			}
		}
	}
	if err := json.Unmarshal(review, &answer); err != nil {
		return err.Error()
	}
	user := answer.Status.UserInfo
	got := fmt.Sprintln(user.Username, user.Groups, user.Extra["sessions.example.com/session-id"], user.Extra["sessions.example.com/organization-id"])
	if want := fmt.Sprintf("customer:%s [customers system:authenticated] [%s] [%s]\n",
		verifytest.CustomerID, verifytest.SessionID, verifytest.OrganizationID); got != want {
		return "somebody else: " + got
	}
	member, role := user.Extra["sessions.example.com/member-id"], user.Extra["sessions.example.com/member-role"]
	return strings.Join(slices.Concat([]string{accepted}, member, role), " ")
}

// The API server checks all but the type, which only the scope stands in for.
func checkKubeTokens(t *testing.T, k *kubeGateway) {
	t.Helper()
	token := func(header, claims map[string]any) string {
		return k.issuer.Token(verifytest.TokenSpec{Header: header, Claims: claims})
	}
	type members = map[string]any
	forger := verifytest.NewIssuer(t, verifytest.Config{Issuer: k.issuer.URL()})
	good := token(nil, nil)
	for _, test := range []struct{ name, token, want string }{
		{"good", good, accepted},
		{"a member of a team", memberToken(k.issuer), asMemberOfTeam},
		{"RS256", k.issuer.Token(verifytest.TokenSpec{KeyID: k.issuer.Keys()[2].ID()}), accepted},
		{"EdDSA", k.issuer.Token(verifytest.TokenSpec{KeyID: k.issuer.Keys()[1].ID()}), refused},
		{"expired", k.issuer.Token(verifytest.TokenSpec{IssuedAt: time.Now().Add(-2 * time.Hour)}), refused},
		{"too long", k.issuer.Token(verifytest.TokenSpec{Lifetime: 25 * time.Hour}), refused},
		{"never expires", token(nil, members{"exp": nil}), refused},
		{"another audience", token(nil, members{"aud": "somebody-else"}), refused},
		{"another issuer", token(nil, members{"iss": "https://evil.example.com"}), refused},
		{"another key", forger.Token(verifytest.TokenSpec{}), refused},
		{"another key with the ID of a good one", forger.Token(verifytest.TokenSpec{Header: members{"kid": k.issuer.KeyID()}}), refused},
		{"alg none", token(members{"alg": "none"}, nil), refused},
		{"alg HS256", token(members{"alg": "HS256"}, nil), refused},
		{"cut short", good[:len(good)-2], refused},
		{"another scope", token(nil, members{"scope": "openid"}), refused},
		{"no scope", token(nil, members{"scope": nil}), refused},
		{"another type, with our scope", token(members{"typ": "at+jwt"}, nil), accepted},
	} {
		if got := k.verdict(test.token); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestGatewayKubernetes(t *testing.T) {
	t.Parallel()
	issuer, certificate := newKubeIssuer(t, verifytest.Config{
		Algorithms: []jwk.Algorithm{jwk.ES256, jwk.EdDSA, jwk.RS256},
		// The API server fetches no keys before theirs are as old as this.
		MaxAge: time.Second,
	})
	k := startKube(t, issuer, certificate)
	checkKubeTokens(t, k)
	// Nor does it fetch any before it meets a key that it does not know.
	k.learn = func(*testing.T) {
		k.verdict(verifytest.NewIssuer(nil, verifytest.Config{Issuer: issuer.URL()}).Token(verifytest.TokenSpec{}))
	}
	k.check(t)
	issuer.Fail(verifytest.Down)
	if got := k.verdict(issuer.Token(verifytest.TokenSpec{})); got != accepted {
		t.Errorf("without the issuer: got %q, want %q", got, accepted)
	}
}
