package deploy_test

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/customersession/customersession/deploy/rig/needs"
)

// imageLimit is the size of the image in bytes that it must stay below.
const imageLimit = 32_000_000

// TestImage does what the page of the image says, word for word, and looks into
// the images that come of it.
func TestImage(t *testing.T) {
	t.Parallel()
	needs.Time(t, "half a minute")
	needs.Program(t, "curl", "install curl")
	e := newEngine(t, "")
	e.typePage(t, "container/README.md", "127.0.0.1:8080", freePort(t))
}

// typePage types the commands of a page next to a checkout, as the runbooks are
// rehearsed, with other texts in the place of some: an old one, its new one, and
// so on.
func (e *containerEngine) typePage(t *testing.T, page string, oldnew ...string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	script, err := runbookScript(page, strings.NewReplacer(oldnew...).Replace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	file := e.write(t, "scripts/page.txtar", script, 0o600)
	testscript.Run(t, testscript.Params{
		Dir:   filepath.Dir(file),
		Setup: e.setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"block": rehearse((*rehearsal).block),
			"same":  func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(e.sameImage(args[0], args[1])) },
			"release": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(e.releaseImage(ts.MkAbs("release")))
			},
			"image": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(e.goodImage(args[0], append(args, runtime.GOARCH)[1]))
			},
		},
	})
}

// setup makes the place where the commands of a page are typed, next to a
// checkout.
func (e *containerEngine) setup(env *testscript.Env) error {
	r := &rehearsal{folder: env.WorkDir, vars: filepath.Join(env.WorkDir, ".vars")}
	env.Values[runbookKey] = r
	env.Setenv("PATH", e.bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	checkout, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	if err := os.Symlink(checkout, filepath.Join(env.WorkDir, "customersession")); err != nil {
		return err
	}
	return os.WriteFile(r.vars, []byte(strings.Join(e.env, "\n")+"\n"), 0o600)
}

// imageFacts is what podman knows of an image.
type imageFacts struct {
	Digest       string
	Architecture string
	Size         int64
	Config       struct {
		User            string
		Entrypoint, Cmd []string
		Labels          map[string]string
	}
}

func (e *containerEngine) facts(name string) (imageFacts, error) {
	output, err := e.podman("image", "inspect", name)
	if err != nil {
		return imageFacts{}, err
	}
	var facts []imageFacts
	if err := json.Unmarshal([]byte(output), &facts); err != nil {
		return imageFacts{}, err
	}
	return facts[0], nil
}

// sameImage compares two builds:
//
//	same IMAGE IMAGE
func (e *containerEngine) sameImage(first, second string) error {
	a, err := e.facts(first)
	if err != nil {
		return err
	}
	b, err := e.facts(second)
	if err != nil {
		return err
	}
	if a.Digest != b.Digest || a.Digest == "" {
		return fmt.Errorf("%s is %q and %s is %q, want the same digest", first, a.Digest, second, b.Digest)
	}
	return nil
}

// goodImage looks for everything that an image promises and that can be seen
// without running it:
//
//	image IMAGE [ARCHITECTURE]
func (e *containerEngine) goodImage(name, architecture string) error {
	facts, err := e.facts(name)
	if err != nil {
		return err
	}
	if facts.Size >= imageLimit {
		return fmt.Errorf("%s has %d bytes, want fewer than %d", name, facts.Size, imageLimit)
	}
	got := []string{
		facts.Architecture, facts.Config.User, fmt.Sprint(facts.Config.Entrypoint, facts.Config.Cmd),
		facts.Config.Labels["org.opencontainers.image.licenses"],
	}
	want := []string{architecture, "65532:65532", "[/customersession] [serve]", "Apache-2.0"}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s: got %q, want %q", name, got, want)
	}
	root, err := e.podman("image", "mount", name)
	if err != nil {
		return err
	}
	return goodFiles(root, architecture)
}

// goodFiles wants the program, for the architecture, and the CA roots, and
// nothing that could be a shell.
func goodFiles(root, architecture string) error {
	var got []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			got = append(got, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	if want := []string{"customersession", "etc/ssl/certs/ca-certificates.crt"}; !slices.Equal(got, want) {
		return fmt.Errorf("the image has the files %q, want %q", got, want)
	}
	program, err := elf.Open(filepath.Join(root, "customersession"))
	if err != nil {
		return err
	}
	defer program.Close()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[architecture]
	if program.Machine != machine || program.Section(".interp") != nil {
		return fmt.Errorf("the program is for %v, want a static one for %v", program.Machine, machine)
	}
	return nil
}

// releaseImage builds the image of a release and reads it as a registry gets it:
//
//	release
func (e *containerEngine) releaseImage(folder string) error {
	command := exec.Command("release/image", "registry.example.com/customersession", folder)
	command.Env = append(command.Environ(), e.env...)
	command.Env = append(command.Env, "PATH="+e.bin+string(os.PathListSeparator)+"/usr/bin:/bin")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	digest, err := os.ReadFile(filepath.Join(folder, "digest"))
	if err != nil {
		return err
	}
	notes, err := os.ReadFile(filepath.Join(folder, "notes.md"))
	if err != nil {
		return err
	}
	for _, want := range []string{
		"`registry.example.com/customersession@" + string(digest) + "`", "GO_IMAGE=docker.io/library/golang@sha256:",
	} {
		if !strings.Contains(string(notes), want) {
			return fmt.Errorf("the notes are\n%s\nwithout %s", notes, want)
		}
	}
	return goodLayout(filepath.Join(folder, "layout"), string(digest))
}

// imageList is what the documents of an OCI layout have in common.
type imageList struct {
	Manifests []struct {
		Digest   string
		Platform struct{ OS, Architecture string }
	}
}

// goodLayout wants one image with that digest, for both platforms.
func goodLayout(layout, digest string) error {
	text, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		return err
	}
	var index imageList
	if err := json.Unmarshal(text, &index); err != nil {
		return err
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != digest {
		return fmt.Errorf("the layout has %v, want %s", index.Manifests, digest)
	}
	list, err := readImageList(layout, digest)
	if err != nil {
		return err
	}
	var got []string
	for _, image := range list.Manifests {
		got = append(got, image.Platform.OS+"/"+image.Platform.Architecture)
		if _, err := readImageList(layout, image.Digest); err != nil {
			return err
		}
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(got, want) {
		return fmt.Errorf("the image is for %q, want %q", got, want)
	}
	return nil
}

// readImageList reads a document of an OCI layout, which must be what its digest
// says.
func readImageList(layout, digest string) (imageList, error) {
	path := filepath.Join(layout, "blobs", strings.Replace(digest, ":", "/", 1))
	text, err := os.ReadFile(path)
	if err != nil {
		return imageList{}, err
	}
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(text)); got != digest {
		return imageList{}, fmt.Errorf("the digest of %s is %s", path, got)
	}
	var list imageList
	return list, json.Unmarshal(text, &list)
}
