//! Counters, states, intervals and accounting against what HAProxy 2.6 did and printed.

use std::time::Duration;

use config::model::Check;

use super::words::{Line, Severity, Standing, Who, change_lines, check_line, no_server_line};
use super::*;

const START: Duration = Duration::from_secs(100);

fn settings(rise: u32, fall: u32) -> Check {
    Check {
        rise,
        fall,
        ..Check::default()
    }
}

fn result(code: CheckCode) -> CheckResult {
    CheckResult {
        code,
        status: None,
        info: String::new(),
        duration: Duration::from_micros(300),
    }
}

/// One letter an event: `+` a passed check, `?` one passed on a condition, `-` a failed one, `R`, `D`,
/// `M` an admin state. The answer: the status after each event, with `!` where a change was told.
fn play(health: &mut Health, events: &str) -> String {
    let mut told = Vec::new();
    for event in events.chars() {
        let change = match event {
            '+' => health.step(result(CheckCode::Layer7Ok), START),
            '?' => health.step(result(CheckCode::Layer7OkConditional), START),
            '-' => health.step(result(CheckCode::Layer4Connection), START),
            'R' => health.set_admin(Admin::Ready, START),
            'D' => health.set_admin(Admin::Drain, START),
            'M' => health.set_admin(Admin::Maint, START),
            other => unreachable!("{other}"),
        };
        let mark = if change.is_some() { "!" } else { "" };
        told.push(format!("{}{mark}", health.status_text()));
    }
    told.join(", ")
}

#[test]
fn counters_move_as_haproxy_moves_them() {
    use Initial::{Down, Unchecked, Up};
    let cases = [
        // initial, rise, fall, events, expected
        (Up, 2, 3, "+", "UP"),
        (Up, 2, 3, "-", "DOWN!"),
        (Up, 2, 3, "+---", "UP, UP 2/3, UP 1/3, DOWN!"),
        (Up, 2, 3, "+--+-", "UP, UP 2/3, UP 1/3, UP, UP 2/3"),
        (Up, 2, 3, "-++", "DOWN!, DOWN 1/2, UP!"),
        (Up, 2, 3, "-+-++", "DOWN!, DOWN 1/2, DOWN, DOWN 1/2, UP!"),
        (Up, 1, 1, "+-+", "UP, DOWN!, UP!"),
        (Up, 3, 2, "-+++-", "DOWN!, DOWN 1/3, DOWN 2/3, UP!, UP 1/2"),
        (Down, 2, 3, "+", "UP!"),
        (Down, 2, 3, "--+", "DOWN, DOWN, UP!"),
        (Down, 2, 3, "+---+", "UP!, UP 2/3, UP 1/3, DOWN!, DOWN 1/2"),
        (Unchecked, 2, 3, "-+", "no check, no check"),
        // the operator
        (Up, 2, 3, "+DR", "UP, DRAIN!, UP!"),
        (Up, 2, 3, "+D-R", "UP, DRAIN!, DRAIN 2/3, UP 2/3!"),
        (Up, 2, 3, "D-R", "DRAIN 1/3!, DOWN!, DOWN!"),
        (Up, 2, 3, "+MR", "UP, MAINT!, UP 1/3!"),
        (Up, 2, 3, "+M-+R", "UP, MAINT!, MAINT, MAINT, UP 1/3!"),
        (Up, 2, 3, "+MRM", "UP, MAINT!, UP 1/3!, MAINT!"),
        (Up, 2, 3, "-MR-", "DOWN!, MAINT!, UP 1/3!, DOWN!"),
        (Up, 2, 3, "+MD+", "UP, MAINT!, DRAIN 1/3!, DRAIN"),
        (
            Up,
            2,
            3,
            "RDDMM",
            "UP 1/3, DRAIN 1/3!, DRAIN 1/3, MAINT!, MAINT",
        ),
        (
            Unchecked,
            2,
            3,
            "DRMR",
            "DRAIN!, no check!, MAINT!, no check!",
        ),
        // nobody has verified it yet
        (Down, 2, 3, "MR+", "MAINT!, DOWN!, UP!"),
        (Down, 2, 3, "D+R", "DOWN!, DRAIN!, UP!"),
        // `http-check disable-on-404`
        (Up, 2, 3, "+?+", "UP, NOLB!, UP!"),
        (Up, 2, 3, "+?-?", "UP, NOLB!, NOLB 2/3, NOLB"),
        (
            Up,
            2,
            3,
            "+---??",
            "UP, UP 2/3, UP 1/3, DOWN!, DOWN 1/2, NOLB!",
        ),
    ];
    for (initial, rise, fall, events, expected) in cases {
        let mut health = Health::new(&settings(rise, fall), initial, START);
        let told = play(&mut health, events);
        assert_eq!(
            told, expected,
            "{initial:?} rise {rise} fall {fall}: {events}"
        );
        assert!(health.counter() < rise + fall);
    }
}

#[test]
fn only_a_ready_server_that_runs_takes_sessions() {
    let cases = [
        (Initial::Up, "", true),
        (Initial::Up, "-", false),
        (Initial::Up, "D", false),
        (Initial::Up, "M", false),
        (Initial::Up, "?", false),
        (Initial::Down, "", false),
        (Initial::Down, "+", true),
        (Initial::Unchecked, "", true),
        (Initial::Unchecked, "M", false),
    ];
    for (initial, events, expected) in cases {
        let mut health = Health::new(&settings(2, 3), initial, START);
        play(&mut health, events);
        assert_eq!(health.accepts_new(), expected, "{initial:?} {events}");
    }
}

#[test]
fn disabled_servers_start_in_maintenance_and_are_not_checked() {
    let health = Health::new(&settings(2, 3), Initial::Up, START).start_in_maint(START);
    assert_eq!(health.status_text(), "MAINT");
    assert!(!health.wants_checks());
    assert!(!health.accepts_new());
    assert_eq!(health.downs_total(), 0);
    let later = START + Duration::from_secs(3);
    assert_eq!(health.downtime(later), Duration::from_secs(3));
}

#[test]
fn the_interval_follows_the_state() {
    let check = Check {
        inter: Duration::from_secs(10),
        fastinter: Some(Duration::from_secs(1)),
        downinter: Some(Duration::from_secs(60)),
        ..settings(2, 3)
    };
    let cases = [
        ("", 1),
        ("+", 10),
        ("+-", 1),
        ("-", 60),
        ("-+", 1),
        ("-++", 10),
    ];
    for (events, expected) in cases {
        let mut health = Health::new(&check, Initial::Up, START);
        play(&mut health, events);
        assert_eq!(health.next_interval(&check).as_secs(), expected, "{events}");
    }
    let plain = settings(2, 3);
    let mut health = Health::new(&plain, Initial::Up, START);
    play(&mut health, "-");
    assert_eq!(health.next_interval(&plain), plain.inter);
}

#[test]
fn downtime_counts_down_and_maintenance() {
    let at = |seconds| START + Duration::from_secs(seconds);
    let mut health = Health::new(&settings(1, 1), Initial::Up, START);
    health.step(result(CheckCode::Layer4Connection), at(10));
    assert_eq!(health.downtime(at(12)).as_secs(), 2);
    health.step(result(CheckCode::Layer4Ok), at(15));
    assert_eq!(health.downtime(at(20)).as_secs(), 5);
    health.set_admin(Admin::Maint, at(30));
    health.set_admin(Admin::Ready, at(37));
    assert_eq!(health.downtime(at(40)).as_secs(), 12);
    assert_eq!(health.since_change(at(40)).as_secs(), 3);
    assert_eq!(health.failures_total(), 1);
    assert_eq!(health.downs_total(), 2);
}

#[test]
fn a_clock_that_stands_or_goes_back_harms_nothing() {
    let mut health = Health::new(&settings(1, 1), Initial::Down, START);
    assert_eq!(health.downtime(Duration::ZERO), Duration::ZERO);
    health.step(result(CheckCode::Layer4Ok), Duration::ZERO);
    assert_eq!(health.downtime(START), Duration::ZERO);
}

#[test]
fn huge_rise_and_fall_do_not_overflow() {
    let mut health = Health::new(&settings(u32::MAX, u32::MAX), Initial::Up, START);
    assert_eq!(play(&mut health, "-+"), "DOWN!, DOWN 1/4294967295");
    let mut health = Health::new(&settings(0, 0), Initial::Up, START);
    assert_eq!(play(&mut health, "+-+"), "UP, DOWN!, UP!");
}

#[test]
fn the_table_of_codes_stands_in_the_order_of_the_enum() {
    for (index, code) in CheckCode::all().enumerate() {
        assert_eq!(code as usize, index);
        assert_eq!(CheckCode::describe(code.short()), code.description());
    }
    assert_eq!(CheckCode::Layer7Status.short(), "L7STS");
    assert_eq!(CheckCode::Layer7Status.description(), "Layer7 wrong status");
    assert_eq!(CheckCode::describe("HUH"), "");
}

const WHO: Who = Who {
    backend: "be",
    server: "s1",
    backup: false,
    via: None,
};

fn refused() -> CheckResult {
    CheckResult {
        info: "Connection refused".into(),
        ..result(CheckCode::Layer4Connection)
    }
}

fn passed() -> CheckResult {
    CheckResult {
        status: Some(200),
        duration: Duration::from_millis(1),
        ..result(CheckCode::Layer7Ok)
    }
}

/// `events` as in [`play`]; the lines of the last one.
fn lines(events: &str, who: &Who, standing: &Standing) -> Vec<(Severity, String)> {
    let mut health = Health::new(&settings(1, 1), Initial::Up, START);
    let (before, last) = events.split_at(events.len() - 1);
    play(&mut health, before);
    let (change, cause) = match last {
        "+" => (health.step(passed(), START), Some(passed())),
        "-" => (health.step(refused(), START), Some(refused())),
        "R" => (health.set_admin(Admin::Ready, START), None),
        "D" => (health.set_admin(Admin::Drain, START), None),
        _ => (health.set_admin(Admin::Maint, START), None),
    };
    let lines = change_lines(who, &change.unwrap(), cause.as_ref(), standing);
    let pair = |line: Line| (line.severity, line.text);
    lines.into_iter().map(pair).collect()
}

#[test]
fn lines_are_worded_as_haproxy_words_them() {
    use Severity::{Alert, Notice};
    let left = Standing {
        active: 1,
        ..Standing::default()
    };
    let down = "Server be/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", \
        check duration: 0ms. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, \
        0 remaining in queue.";
    let up = "Server be/s1 is UP, reason: Layer7 check passed, code: 200, check duration: 1ms. \
        1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.";
    let remains = (Notice, "Server be/s1 remains in forced drain mode.");
    let maint = "Server be/s1 is going DOWN for maintenance. 1 active and 0 backup servers left. \
        0 sessions active, 0 requeued, 0 remaining in queue.";
    let drain_up = "Server be/s1 enters drain state. 1 active and 0 backup servers online. \
        0 sessions requeued, 0 total in queue.";
    let drain_down = "Server be/s1 enters drain state. 1 active and 0 backup servers left. \
        0 sessions active, 0 requeued, 0 remaining in queue.";
    let cases: [(&str, &[(Severity, &str)]); 13] = [
        ("+-", &[(Alert, down)]),
        ("-+", &[(Notice, up)]),
        ("D-", &[(Notice, down), remains]),
        ("D", &[(Notice, drain_up)]),
        ("-D", &[(Notice, drain_down)]),
        (
            "DR",
            &[(Notice, "Server be/s1 is UP (leaving forced drain).")],
        ),
        (
            "D-R",
            &[(Notice, "Server be/s1 is DOWN (leaving forced drain).")],
        ),
        ("M", &[(Alert, maint)]),
        ("DM", &[(Notice, maint)]),
        (
            "-M",
            &[(Notice, "Server be/s1 was DOWN and now enters maintenance.")],
        ),
        (
            "MR",
            &[(
                Notice,
                "Server be/s1 is UP/READY (leaving forced maintenance).",
            )],
        ),
        (
            "MD",
            &[
                (
                    Notice,
                    "Server be/s1 is UP/DRAIN (leaving forced maintenance).",
                ),
                remains,
            ],
        ),
        ("M+RM", &[(Alert, maint)]),
    ];
    for (events, expected) in cases {
        let told = lines(events, &WHO, &left);
        let told: Vec<_> = told.iter().map(|(s, text)| (*s, text.as_str())).collect();
        assert_eq!(told, expected, "{events}");
    }
}

#[test]
fn backups_and_counts_are_told() {
    let who = Who {
        backup: true,
        via: None,
        ..WHO
    };
    let none = Standing {
        sessions: 3,
        requeued: 2,
        queued: 4,
        ..Standing::default()
    };
    assert_eq!(
        lines("-", &who, &none)[0].1,
        "Backup Server be/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", \
         check duration: 0ms. 0 active and 0 backup servers left. 3 sessions active, 2 requeued, \
         4 remaining in queue."
    );
    let on_backup = Standing {
        backup: 1,
        ..Standing::default()
    };
    assert_eq!(
        lines("M", &WHO, &on_backup)[0].1,
        "Server be/s1 is going DOWN for maintenance. 0 active and 1 backup servers left. Running on \
         backup. 0 sessions active, 0 requeued, 0 remaining in queue."
    );
    assert_eq!(
        no_server_line("be", false).text,
        "backend be has no server available!"
    );
    assert_eq!(
        no_server_line("both", true).text,
        "proxy both has no server available!"
    );
}

#[test]
fn a_single_check_is_told_with_its_counter() {
    let mut health = Health::new(&settings(2, 3), Initial::Up, START);
    let mut told = Vec::new();
    for result in [passed(), refused(), refused(), refused(), passed()] {
        health.step(result.clone(), START);
        told.push(check_line(&WHO, &result, &health).text);
    }
    let refused = "Health check for server be/s1 failed, reason: Layer4 connection problem, \
        info: \"Connection refused\", check duration: 0ms, status:";
    let passed = "Health check for server be/s1 succeeded, reason: Layer7 check passed, code: 200, \
        check duration: 1ms, status:";
    let expected = [
        format!("{passed} 3/3 UP."),
        format!("{refused} 2/3 UP."),
        format!("{refused} 1/3 UP."),
        format!("{refused} 0/2 DOWN."),
        format!("{passed} 1/2 DOWN."),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_nodes_words_cannot_break_the_line() {
    let hostile = CheckResult {
        info: "a\nServer be/s2 is DOWN\r\u{1b}[2J".into(),
        ..result(CheckCode::Layer7Response)
    };
    let mut health = Health::new(&settings(1, 1), Initial::Up, START);
    let change = health.step(hostile.clone(), START).unwrap();
    let lines = change_lines(&WHO, &change, Some(&hostile), &Standing::default());
    assert!(lines[0].text.contains("a Server be/s2 is DOWN  [2J"));
    assert!(!lines[0].text.chars().any(char::is_control));
}
