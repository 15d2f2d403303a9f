package command

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/command"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

func runTokenInspect(ctx context.Context, env command.Env, flags *flag.FlagSet, args []string) error {
	issuerURL := flags.String("issuer", "", "verify with the keys of the issuer at this `URL`")
	audience := flags.String("audience", issuer.DefaultAudience, "`audience` to verify for")
	if err := parse(flags, args); err != nil {
		return err
	}
	input, err := io.ReadAll(io.LimitReader(env.In, wire.MaxTokenLength+2))
	if err != nil {
		return err
	}
	token := strings.TrimSpace(string(input))
	if *issuerURL == "" {
		return inspectUnverified(env, token)
	}
	verifier, err := verify.New(verify.Config{Issuer: *issuerURL, Audience: *audience, Algorithms: jwk.Algorithms()})
	if err != nil {
		return command.UsageError{Err: err}
	}
	session, err := verifier.Verify(ctx, token)
	if err != nil {
		return err
	}
	fmt.Fprintln(env.Err, "verified")
	return command.PrintJSON(env.Out, session)
}

func inspectUnverified(env command.Env, token string) error {
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		return errors.New("standard input is not a token of three segments")
	}
	var parts struct {
		Header json.RawMessage `json:"header"`
		Claims json.RawMessage `json:"claims"`
	}
	for i, part := range []*json.RawMessage{&parts.Header, &parts.Claims} {
		text, err := base64.RawURLEncoding.DecodeString(segments[i])
		if err != nil || !json.Valid(text) {
			return fmt.Errorf("segment %d is not JSON in base64url", i+1)
		}
		*part = text
	}
	fmt.Fprintln(env.Err, "NOT VERIFIED: anybody can write this; use --issuer URL to verify")
	return command.PrintJSON(env.Out, parts)
}
