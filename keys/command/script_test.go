package command_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/customersession/customersession/deploy/rig/clock"
	"github.com/customersession/customersession/keys"
)

// programDir is where the command is built; TestMain makes and removes it.
var programDir string

// program builds the real command, with a clock that tests set, once.
var program = sync.OnceValues(func() (string, error) {
	return clock.BuildTo(context.Background(), programDir, "github.com/customersession/customersession")
})

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "customersession-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(programDir)
	os.Exit(code) //nolint:forbidigo // a TestMain must
}

// TestScript runs the commands as people do; see testdata/script. Beside the
// usual ones, scripts have
//
//	clock 45d               the commands that follow run that much later
//	keyid NAME STATE FILE   puts the ID of the key in that state in $NAME
func TestScript(t *testing.T) {
	t.Parallel()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+env.Getenv("PATH"))
			setClock(env.Setenv, 0)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"clock": clockCommand, "keyid": keyIDCommand,
		},
	})
}

// setClock shifts the clock of the commands that follow.
func setClock(setenv func(string, string), ahead time.Duration) {
	name, value, _ := strings.Cut(clock.Shifted(ahead).Env(), "=")
	setenv(name, value)
}

func clockCommand(ts *testscript.TestScript, _ bool, args []string) {
	ahead, err := time.ParseDuration(args[0])
	if days, ok := strings.CutSuffix(args[0], "d"); ok {
		n, wrong := strconv.Atoi(days)
		ahead, err = time.Duration(n)*24*time.Hour, wrong
	}
	ts.Check(err)
	_, value, _ := strings.Cut(ts.Getenv(clock.Variable), ",")
	_, value, _ = strings.Cut(value, ",")
	before, err := strconv.ParseInt(value, 10, 64)
	ts.Check(err)
	setClock(ts.Setenv, time.Duration(before)+ahead)
}

func keyIDCommand(ts *testscript.TestScript, _ bool, args []string) {
	name, state, file := args[0], args[1], args[2]
	var s struct {
		Keys []struct{ KID, State string }
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &s))
	for _, k := range s.Keys {
		if k.State == state {
			ts.Setenv(name, k.KID)
			return
		}
	}
	ts.Fatalf("no key is %s", state)
}

// manifest reads a manifest that a command wrote.
func manifest(t *testing.T, path string) *keys.Manifest {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := keys.ParseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
