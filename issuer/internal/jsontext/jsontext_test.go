package jsontext_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/customersession/customersession/issuer/internal/jsontext"
)

// What is appended is what encoding/json writes.
func TestAppend(t *testing.T) {
	t.Parallel()
	id := uuid.MustParse("992fae2a-2a17-4b7a-8d9e-e287cf90131b")
	second := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	text := "a \"b\"\né"
	for _, tc := range []struct {
		got  []byte
		want any
	}{
		{jsontext.AppendUUID(nil, &id), id},
		{jsontext.AppendUUID(nil, nil), nil},
		{jsontext.AppendTime(nil, &second), second},
		{jsontext.AppendTime(nil, nil), nil},
		{jsontext.AppendString(nil, &text), text},
		{jsontext.AppendString(nil, nil), nil},
	} {
		if want, err := json.Marshal(tc.want); err != nil || string(tc.got) != string(want) {
			t.Errorf("got %s, want %s", tc.got, want)
		}
	}
	elsewhere := second.In(time.FixedZone("", 3600))
	if got := string(jsontext.AppendTime(nil, &elsewhere)); got != `"2026-01-02T03:04:05Z"` {
		t.Errorf("a time of another zone: got %s, want UTC", got)
	}
}
