# Short names for those who have `just`; the work is in ./run, which needs nothing installed.

# every check that a change must pass: exactly what CI runs
check:
    ./run test

# everything on this machine, to look at and to break
demo *arguments:
    ./run demo {{arguments}}

# format the code
fmt:
    cargo fmt --all

# the tests of one crate, for example: just test routing
test crate:
    cargo test --package {{crate}}

# the integration tests alone; with a filter: just it discovery
it filter="":
    cargo test --package cli --test it -- {{filter}}

# the same expectations against HAProxy, to see whether one is HAProxy's or ours
oracle filter="" haproxy="/usr/sbin/haproxy":
    TIDEGATE_IT_PROGRAM={{haproxy}} cargo test --package cli --test it -- {{filter}}

# instructions each hot path takes, against the stored figures; with --accept: store them
count *arguments:
    ./run count {{arguments}}

# how long each hot path takes on this machine now
times *names:
    cargo bench --package hotpaths -- {{names}}

# the program as it should be run in earnest
release:
    cargo build --release --locked --package cli
