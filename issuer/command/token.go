package command

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/customersession/customersession/issuer"
	"github.com/customersession/customersession/keys/jwk"
	"github.com/customersession/customersession/verify"
	"github.com/customersession/customersession/verify/wire"
)

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", GroupID: "tools", Short: "Inspect tokens"}
	cmd.AddCommand(newTokenInspectCommand())
	return cmd
}

func newTokenInspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Show the token on standard input, verified or not",
	}
	issuerURL := cmd.Flags().String("issuer", "", "verify with the keys of the issuer at this `URL`")
	audience := cmd.Flags().String("audience", issuer.DefaultAudience, "`audience` to verify for")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		input, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), wire.MaxTokenLength+2))
		if err != nil {
			return err
		}
		token := strings.TrimSpace(string(input))
		if *issuerURL == "" {
			return inspectUnverified(cmd, token)
		}
		verifier, err := verify.New(verify.Config{Issuer: *issuerURL, Audience: *audience, Algorithms: jwk.Algorithms()})
		if err != nil {
			return misused(cmd, "%w", err)
		}
		session, err := verifier.Verify(cmd.Context(), token)
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "verified")
		return printJSON(cmd.OutOrStdout(), session)
	}
	return cmd
}

func inspectUnverified(cmd *cobra.Command, token string) error {
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
	fmt.Fprintln(cmd.ErrOrStderr(), "NOT VERIFIED: anybody can write this; use --issuer URL to verify")
	return printJSON(cmd.OutOrStdout(), parts)
}
