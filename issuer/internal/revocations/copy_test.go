//go:build unix

package revocations_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/revocations"
)

// Moving from a file keeps what was ended, until when, and nothing twice.
func TestCopy(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	path := filepath.Join(t.TempDir(), "revocations.jsonl")
	if err := revocations.InitFile(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	file := revocations.NewFile(path)
	defer file.Close()
	organization := uuid.New()
	for _, entry := range []revocations.Entry{
		session("3f6c1a7e-0b52-4d4e-9a53-6f0d3a1f8b11"),
		{Scope: revocations.Customer, OrganizationID: organization, ID: "ada"},
		{Scope: revocations.Organization, OrganizationID: organization},
		{Scope: revocations.SigningKey, ID: "kid"},
		{Scope: revocations.Manifest, ID: "7"},
	} {
		appendTo(t, file, entry)
	}
	want := readFrom(t, file, revocations.Position{}).Records
	table := openPostgres(t, server.DSN("customersession", newTable(t, server)))
	for round, more := range []int{len(want), 0, 1} {
		if round == 2 {
			appendTo(t, file, session("992fae2a-2a17-4b7a-8d9e-e287cf90131b"))
			want = readFrom(t, file, revocations.Position{}).Records
		}
		added, err := table.Copy(t.Context(), want)
		if err != nil || added != more {
			t.Fatalf("round %d: %d added, error %v, want %d", round, added, err, more)
		}
	}
	got := readFrom(t, table, revocations.Position{}).Records
	for i := range got {
		got[i].Seq-- // the first row of the table has a number
	}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("after the copy:\n%v, want\n%v", got, want)
	}
}
