package docs_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scimward/scimward/envoy/envoybin"
	"github.com/scimward/scimward/envoy/freeport"
	"github.com/scimward/scimward/sidecar/recipe"
)

// block is a block of a page that runs in a test. The line before its fence is
//
//	<!-- test -->                     it always runs
//	<!-- test needs=curl,openssl -->  it runs if the commands exist
//
// All blocks of a tour run in one shell, in order, in an empty folder, and every command must
// succeed. A block after <!-- output --> shows lines that the block before it must have
// printed, in this order; … stands for any text within a line. The test replaces the
// ports by free ones, in the blocks and in what init writes. Before a block with until
// it repeats that command, up to three minutes, until it succeeds: a reader is slower.
type block struct {
	page   string // from the root of the repository
	script string
	needs  []string
	until  string
	output string
	line   int
}

var blockRE = regexp.MustCompile("(?ms)^<!-- (test|output)(?: needs=([\\w,]+))?(?: until='([^']+)')? -->\n```\\w+\n(.*?)^```$")

// tour is a series of blocks of one or several pages.
type tour []block

// blocksOf reads the blocks of a page. text is the part of the page to read.
func blocksOf(t *testing.T, page, text string) tour {
	t.Helper()
	var out tour
	for _, m := range blockRE.FindAllStringSubmatchIndex(text, -1) {
		body := text[m[8]:m[9]]
		if text[m[2]:m[3]] == "output" {
			if len(out) == 0 || out[len(out)-1].output != "" {
				t.Fatalf("%s has an output block without a test block before it", page)
			}
			out[len(out)-1].output = body
			continue
		}
		b := block{page: page, script: body, line: 1 + strings.Count(text[:m[0]], "\n")}
		if m[4] >= 0 {
			b.needs = strings.Split(text[m[4]:m[5]], ",")
		}
		if m[6] >= 0 {
			b.until = text[m[6]:m[7]]
		}
		out = append(out, b)
	}
	marks := strings.Count(text, "<!-- test") + strings.Count(text, "<!-- output")
	if found := len(blockRE.FindAllString(text, -1)); marks != found {
		t.Fatalf("%s has %d marks, but %d directly before a fence", page, marks, found)
	}
	return out
}

// runnable leaves out the blocks whose commands do not exist here.
func (tr tour) runnable(t *testing.T) tour {
	t.Helper()
	return slices.DeleteFunc(tr, func(b block) bool {
		for _, command := range b.needs {
			if _, err := exec.LookPath(command); err != nil {
				t.Logf("SKIPPED the block at %s:%d: it needs %s", b.page, b.line, command)
				return true
			}
		}
		return false
	})
}

// run runs the tour with the real Envoy, compares what each block prints, and returns the files that the
// tour made.
func (tr tour) run(t *testing.T) (made []string) {
	t.Helper()
	ports := freePorts(t, "3000", "7070", "8443", "8460", "8461", "8700", "9901")
	var pairs []string
	for from, to := range ports {
		pairs = append(pairs, ":"+from, ":"+to, " "+from+" ", " "+to+" ")
	}
	free := strings.NewReplacer(pairs...)
	script := ""
	for _, b := range tr {
		if b.until != "" {
			script += "tries=0; until " + free.Replace(b.until) + `
do tries=$((tries+1)); [ $tries -lt 180 ] || { echo "three minutes passed before a block could run"; exit 1; }; sleep 1
done
`
		}
		script += "echo '@@ block'\n" + free.Replace(b.script)
	}
	out := runScript(t, binaries(t, ports), script+"echo '@@ block'\nls -Ap\n")
	answers := strings.Split(out, "@@ block\n")[1:]
	if len(answers) != len(tr)+1 {
		t.Fatalf("%d of %d blocks ran; they printed:\n%s", len(answers), len(tr), out)
	}
	for i, b := range tr {
		if line := missing(b.output, answers[i]); line != "" {
			t.Errorf("the block at %s:%d does not print %q; it printed:\n%s", b.page, b.line, line, answers[i])
		}
	}
	return strings.Fields(answers[len(tr)]) // by the last block, ls
}

// ignored reports files that git does not ignore: a reader may take the tour in the clone.
func ignored(t *testing.T, made []string) {
	t.Helper()
	if len(made) < 5 {
		t.Errorf("the tour made %v, want its files", made)
	}
	for _, name := range made {
		cmd := exec.CommandContext(t.Context(), "git", "check-ignore", "--quiet", "--no-index", name)
		cmd.Dir = root
		if err := cmd.Run(); err != nil {
			t.Errorf("git does not ignore %s, which the tour makes: %v", name, err)
		}
	}
}

// TestReadmeTour runs the tour of the README.
func TestReadmeTour(t *testing.T) {
	all := blocksOf(t, "README.md", read(t, filepath.Join(root, "README.md")))
	if len(all) < 6 {
		t.Fatalf("README.md has %d blocks, want the whole tour", len(all))
	}
	ignored(t, all.runnable(t).run(t))
}

// TestRecipes: the page of each recipe shows it as scimward prints it, so that they cannot disagree.
func TestRecipes(t *testing.T) {
	v := recipe.Values{Tenant: "main", URL: "https://localhost:8443", Profile: "ipsie-il1", StaticTokens: true}
	for _, r := range recipe.All() {
		name := filepath.Join("identity-providers", r.Page)
		if text := r.For(v, "").Text(); !strings.Contains(read(t, name), "\n"+text+"```\n") {
			t.Errorf("docs/%s does not show the recipe %s; paste this:\n%s", name, r.Name, text)
		}
	}
}

// TestPolicyPage runs the walk of docs/policy.md, with the scimward and the Envoy that the README starts.
func TestPolicyPage(t *testing.T) {
	walk := blocksOf(t, "docs/policy.md", read(t, "policy.md"))
	if len(walk) < 6 {
		t.Fatalf("docs/policy.md has %d blocks, want the whole walk", len(walk))
	}
	ignored(t, append(startOfReadme(t), walk...).runnable(t).run(t))
}

// TestPageOfManyMachines runs the walk of docs/many-machines.md, from one process to three cores and back.
func TestPageOfManyMachines(t *testing.T) {
	walk := blocksOf(t, "docs/many-machines.md", read(t, "many-machines.md"))
	if len(walk) < 8 {
		t.Fatalf("docs/many-machines.md has %d blocks, want the whole walk", len(walk))
	}
	append(startOfReadme(t), walk...).runnable(t).run(t)
}

// startOfReadme returns the blocks of the README up to a running scimward with Envoy.
func startOfReadme(t *testing.T) tour {
	t.Helper()
	const mark = "<!-- the pages of docs/identity-providers and docs/policy.md go on here -->"
	start, _, found := strings.Cut(read(t, filepath.Join(root, "README.md")), mark)
	if !found {
		t.Fatal("README.md does not say where the pages go on")
	}
	return blocksOf(t, "README.md", start)
}

// TestProviderPages runs the pages of docs/identity-providers, one after the other, with the scimward and
// the Envoy that the README starts.
func TestProviderPages(t *testing.T) {
	all := startOfReadme(t)
	first := []string{"curl.md", "README.md"} // the index, then the page with the functions that others use
	names, err := filepath.Glob("identity-providers/*.md")
	if err != nil || len(names) < 2 {
		t.Fatalf("found the pages %v: %v", names, err)
	}
	parts := []string{
		"What to paste where", "What the profile refuses", "First synchronization", "Rotate", "Test", "Known limits",
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return slices.Index(first, filepath.Base(b)) - slices.Index(first, filepath.Base(a))
	})
	for _, name := range names {
		text := read(t, name)
		for _, part := range parts {
			if !strings.HasSuffix(name, "README.md") && !strings.Contains(text, "\n## "+part+"\n") {
				t.Errorf("docs/%s has no part %q", name, part)
			}
		}
		blocks := blocksOf(t, "docs/"+filepath.ToSlash(name), text)
		if len(blocks) == 0 {
			t.Errorf("docs/%s has no block that runs, want one", name)
		}
		all = append(all, blocks...)
	}
	ignored(t, all.runnable(t).run(t))
}

// missing returns the first line of the output block that got does not have after the
// lines before it, or "" if got has all of them.
func missing(output, got string) string {
	rest := strings.Split(got, "\n")
	for want := range strings.Lines(output) {
		want = strings.TrimRight(want, "\n")
		if want == "" {
			continue
		}
		parts := strings.Split(want, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		re := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		i := slices.IndexFunc(rest, func(line string) bool { return re.MatchString(strings.TrimRight(line, " ")) })
		if i < 0 {
			return want
		}
		rest = rest[i+1:]
	}
	return ""
}

// TestMissingLinesAreFound proves that the comparison can fail.
func TestMissingLinesAreFound(t *testing.T) {
	const got = "200\nab c\nb\n"
	for output, want := range map[string]string{
		"200\n\n…b…\nb\n": "",
		"401\n":           "401",
		"b\n200\n":        "200",
		"20\n":            "20",
		"200\na.*\n":      "a.*",
	} {
		if got := missing(output, got); got != want {
			t.Errorf("of %q the line %q is missing, want %q", output, got, want)
		}
	}
}

// freePorts maps each port of the tour to a free one.
func freePorts(t *testing.T, ports ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range ports {
		free, release, err := freeport.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
		out[p] = free
	}
	return out
}

// binaries returns a folder with the programs that make build would put on the PATH, and
// Envoy. In it, scimward is a script that runs the real one and edits what init writes:
// it replaces the ports, and raises the time for a check for a slow machine.
func binaries(t *testing.T, ports map[string]string) string {
	t.Helper()
	bin, hidden := t.TempDir(), t.TempDir()
	for pkg, dir := range map[string]string{"../cmd/scimward": hidden, "../examples/identity-service": bin} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir, pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", pkg, err, out)
		}
	}
	edits := ""
	for from, to := range ports {
		edits += " -e 's/\\([: ]\\)" + from + "$/\\1" + to + "/' -e s/:" + from + "/:" + to + "/"
	}
	slow := " -e 's/^envoy:$/envoy:\\\n  check_timeout: 10s/'"
	command := "'" + filepath.Join(hidden, "scimward") + "'"
	wrapper := "#!/bin/sh\n[ \"$1\" = init ] || exec " + command + " \"$@\"\n" + // exec passes signals on
		command + " \"$@\" || exit $?\n[ ! -f \"$2/scimward.yaml\" ] || sed -i.bak" + slow + edits + " \"$2/scimward.yaml\"\n" +
		"find \"$2\" -mindepth 2 -name '*.yaml' -exec sed -i.bak" + edits + " {} +\n"
	if err := os.WriteFile(filepath.Join(bin, "scimward"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	cache, err := envoybin.CacheDir(root)
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := envoybin.Locate(t.Context(), cache, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if envoy, err = filepath.Abs(envoy); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(envoy, filepath.Join(bin, "envoy")); err != nil {
		t.Fatal(err)
	}
	return bin
}

// runScript runs the tour in its own process group and returns what it printed. On exit,
// the shell ends all processes of the group and waits for them.
func runScript(t *testing.T, bin, script string) string {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "trap 'trap \"\" TERM; kill -TERM 0; wait' EXIT\nset -eu\n"+script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Minute
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		logs := ""
		for _, name := range []string{"scimward.log", "envoy.log", "idp.log", "app.log"} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil { // without an error the tour got that far
				logs += "--- " + name + "\n" + string(b[max(0, len(b)-2000):])
			}
		}
		t.Fatalf("the tour failed: %v\n%s\n%s", err, out.String(), logs)
	}
	return out.String()
}
