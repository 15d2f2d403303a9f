package command

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
)

// maxInput is more than any portal link has.
const maxInput = 1 << 16

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", GroupID: "sessions", Short: "Inspect tokens"}
	cmd.AddCommand(newTokenInspectCommand())
	return cmd
}

func newTokenInspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Show the token, or the token in the portal link, on standard input",
		Long: `Read a token, or a whole portal link, from standard input and show what is in it.

Without --issuer nothing is verified, so anybody may have written what is shown.
With --issuer, the token is verified with the keys of that issuer.`,
		Example: `  customersession token inspect <token.txt
  customersession token inspect --issuer https://sessions.example.com <link.txt`,
	}
	trust := verify.Config{Algorithms: jwk.Algorithms()}
	cmd.Flags().StringVar(&trust.Issuer, "issuer", "", "`URL` of the issuer to verify with")
	cmd.Flags().StringVar(&trust.Audience, "audience", issuer.DefaultAudience, "`audience` to verify for")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		token, err := readToken(cmd.InOrStdin())
		if err != nil {
			return err
		}
		if trust.Issuer == "" {
			return showUnverified(cmd, token)
		}
		return showVerified(cmd, token, trust)
	}
	return cmd
}

// readToken reads a token, or the link that holds one.
func readToken(in io.Reader) (string, error) {
	input, err := io.ReadAll(io.LimitReader(in, maxInput))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(input))
	_, query, isLink := strings.Cut(text, "?")
	if !isLink && !strings.Contains(text, "://") {
		return text, nil
	}
	query, _, _ = strings.Cut(query, "#")
	values, err := url.ParseQuery(query)
	if err != nil || values.Get(verify.TokenParameter) == "" {
		// The cause would repeat a part of the link.
		return "", errors.New("the link has no " + verify.TokenParameter + " that can be read")
	}
	return values.Get(verify.TokenParameter), nil
}

func showVerified(cmd *cobra.Command, token string, trust verify.Config) error {
	verifier, err := verify.New(trust)
	if err != nil {
		return misused(cmd, "%w", err)
	}
	defer verifier.Close()
	session, err := verifier.Verify(cmd.Context(), token)
	if err != nil {
		for _, line := range mismatches(token, trust) {
			fmt.Fprintln(cmd.ErrOrStderr(), line)
		}
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "verified")
	return printJSON(cmd.OutOrStdout(), session)
}

func showUnverified(cmd *cobra.Command, token string) error {
	parts, err := decode(token)
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "NOT VERIFIED: anybody may have written this; use --issuer URL to verify it")
	return printJSON(cmd.OutOrStdout(), parts)
}

// mismatches names the issuer and the audience that an unverified token has, if
// they are not those of trust.
func mismatches(token string, trust verify.Config) (lines []string) {
	parts, err := decode(token)
	if err != nil {
		return nil
	}
	var claims struct {
		Issuer   json.RawMessage `json:"iss"`
		Audience json.RawMessage `json:"aud"`
	}
	if err := json.Unmarshal(parts.Claims, &claims); err != nil {
		return nil
	}
	compare := func(name string, found json.RawMessage, wanted string) {
		if !slices.Contains(stringsOf(found), wanted) {
			lines = append(lines, fmt.Sprintf("%s: the token has %s (not verified), wanted %q", name, cmp.Or(string(found), "none"), wanted))
		}
	}
	compare("issuer", claims.Issuer, trust.Issuer)
	compare("audience", claims.Audience, trust.Audience)
	return lines
}

// stringsOf returns the strings of a claim that is one, or a list of them.
func stringsOf(claim json.RawMessage) []string {
	var one string
	if json.Unmarshal(claim, &one) == nil {
		return []string{one}
	}
	var list []string
	if json.Unmarshal(claim, &list) != nil {
		return nil
	}
	return list
}

// tokenParts is what a token says, which nothing vouches for.
type tokenParts struct {
	Header json.RawMessage `json:"header"`
	Claims json.RawMessage `json:"claims"`
}

func decode(token string) (tokenParts, error) {
	var parts tokenParts
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return parts, errors.New("standard input is not a token of three segments")
	}
	for i, part := range []*json.RawMessage{&parts.Header, &parts.Claims} {
		text, err := base64.RawURLEncoding.DecodeString(segments[i])
		if err == nil {
			*part, err = printable(text)
		}
		if err != nil {
			return parts, fmt.Errorf("segment %d is not JSON in base64url", i+1)
		}
	}
	return parts, nil
}

// printable escapes the characters of JSON that a terminal does not show as
// they are, such as those that control it.
func printable(text []byte) (json.RawMessage, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, err
	}
	// No such character is left outside of a string.
	var escaped []byte
	for _, r := range compact.String() {
		if unicode.IsPrint(r) {
			escaped = append(escaped, string(r)...)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			escaped = fmt.Appendf(escaped, `\u%04x`, unit)
		}
	}
	return escaped, nil
}
