//! What one sees on the page, and that nothing on it does what a name says.

use super::super::sample;
use super::*;

fn render(snapshot: &Snapshot, look: &Look) -> String {
    Page::new(snapshot.clone(), look.clone()).whole()
}

fn look() -> Look {
    Look {
        uri: "/stats".into(),
        show_legends: true,
        node: Some("edge-1".into()),
        ..Look::default()
    }
}

#[test]
fn the_page_tells_what_one_wants_to_know() {
    let page = render(&sample::fleet(), &look());
    let expected = [
        "<title>tidegate on edge-1: 2 down</title>",
        "<dt>Uptime</dt><dd>3d 4h</dd>",
        "<dt>Version</dt><dd>0.1.0</dd>",
        "<dt>Process</dt><dd>4242</dd>",
        "<p class=\"figure\">12,202</p>",
        "<li class=\"now\" aria-current=\"step\"><span class=\"dot\" aria-hidden=\"true\"></span>Routing</li>",
        "</span>Fetching nodes</li>",
        "http://wsupdates.example:3000",
        "<dd>12s ago</dd>",
        "<dd>4 (3 timeout, 1 status)</dd>",
        "GET /nodes: no answer within 5s",
        "node-4: drain has 2367 tunnels left",
        "*:8443 ssl",
        "10.0.0.11:8081",
        "<span class=\"pill going-down\"><span aria-hidden=\"true\">\u{25bc}</span> UP 2/3</span>",
        "<span class=\"pill drain\"><span aria-hidden=\"true\">\u{25d1}</span> DRAIN</span>",
        "<span class=\"badge\">discovered</span>",
        "<span class=\"second message\">Connection refused</span>",
        "3 up, 2 changing, 1 draining, 1 in maintenance, 1 down",
        "<a href=\"/stats;csv\">CSV</a>",
    ];
    for text in expected {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn the_look_is_what_the_configuration_says() {
    let snapshot = sample::fleet();
    let render = |look: &Look| self::render(&snapshot, look);
    let plain = render(&Look {
        uri: "/stats".into(),
        ..Look::default()
    });
    for hidden in ["10.0.0.11", "*:8443", "edge-1", "http-equiv"] {
        assert!(!plain.contains(hidden), "{hidden}");
    }
    let hidden = render(&Look {
        hide_version: true,
        ..look()
    });
    assert!(!hidden.contains("0.1.0"));
    let refreshed = render(&Look {
        refresh: Some(Duration::from_secs(10)),
        ..look()
    });
    assert!(refreshed.contains("<meta http-equiv=\"refresh\" content=\"10\">"));
    assert!(refreshed.contains("Reloads every 10s."));
    let never = render(&Look {
        refresh: Some(Duration::from_millis(10)),
        ..look()
    });
    assert!(!never.contains("http-equiv"));
    let described = render(&Look {
        description: Some("Chat, Frankfurt".into()),
        ..look()
    });
    assert!(described.contains("<p class=\"description\">Chat, Frankfurt</p>"));
}

#[test]
fn an_error_and_a_stop_are_seen() {
    let mut snapshot = sample::fleet();
    snapshot.control.lifecycle = "Error";
    snapshot.process.stopping = true;
    if let Some(discovery) = &mut snapshot.control.discovery {
        discovery.from_state_file = true;
        discovery.age = None;
    }
    let page = render(&snapshot, &look());
    assert!(page.contains("<li class=\"now bad\" aria-current=\"step\">"));
    assert!(page.contains("Stopping: no new connections, 12,411 still open"));
    assert!(page.contains("from the state file") && page.contains("<dd>none yet</dd>"));
}

#[test]
fn a_balancer_without_control_has_a_page_too() {
    let page = render(&sample::small(), &look());
    assert!(!page.contains("Lifecycle") && !page.contains("Discovery"));
    assert!(page.contains("no check") && page.contains("MAINT"));
}

/// Tags and attributes as a browser would find them; text between tags is left out.
fn tags(page: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let tag = &rest[start..];
        let end = tag.find('>').expect("a tag that is not closed");
        tags.push(&tag[..=end]);
        rest = &tag[end + 1..];
    }
    tags
}

#[test]
fn hostile_names_make_no_markup() {
    let harmless = render(&sample::fleet(), &look());
    let snapshot = sample::hostile();
    let name = snapshot.process.node.to_string();
    let hostile = Look {
        admin: true,
        uri: name.as_str().into(),
        description: Some(name.as_str().into()),
        node: Some(name.as_str().into()),
        ..look()
    };
    let page = render(&snapshot, &hostile);
    assert!(!page.contains("<script") && !page.contains("alert('x')"));
    assert!(
        page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;,\u{fffd}{}\\")
    );
    // Not one tag more or less than with harmless names, but for the description.
    let kinds = |page: &str| -> String {
        let names = tags(page)
            .into_iter()
            .filter_map(|tag| tag.split([' ', '>']).next());
        names.collect()
    };
    let with_description = Look {
        admin: true,
        description: Some("x".into()),
        ..look()
    };
    let expected = kinds(&render(&sample::fleet(), &with_description));
    assert!(kinds(&page) == expected, "the tags differ");
    assert!(!harmless.contains("<script"));
}

#[test]
fn names_cannot_turn_the_direction_of_writing() {
    let mut html = Html::onto(String::new());
    html.text("a\u{202e}b\u{0}c\u{2066}d\u{200f}é日");
    assert_eq!(html.finish(), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}é日");
}

#[test]
fn every_tag_is_closed_in_its_order() {
    const VOID: [&str; 4] = ["meta", "link", "!DOCTYPE", "input"];
    for snapshot in [sample::small(), sample::fleet(), sample::hostile()] {
        let page = render(&snapshot, &look());
        let mut open: Vec<String> = Vec::new();
        for tag in tags(&page) {
            let inner = tag.trim_start_matches('<').trim_end_matches('>');
            let name = inner.split(' ').next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed)),
                None if VOID.contains(&name) => {}
                None => open.push(name.into()),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = render(&sample::fleet(), &look());
    for forbidden in [
        "<script", "<img", "@import", "url(", "src=", "onclick", "https://",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn tables_have_headers_and_cells_are_labelled() {
    let page = render(&sample::fleet(), &look());
    for table in page.split("<table>").skip(1) {
        let table = table.split("</table>").next().unwrap_or_default();
        let columns = table.matches("<th scope=\"col\"").count();
        let rows = table.matches("<th scope=\"row\"").count();
        let cells = table.matches("<td").count();
        assert_eq!(cells, rows * (columns - 1));
        assert_eq!(table.matches("data-label=").count(), cells);
    }
}

#[test]
fn who_may_change_servers_gets_a_form_and_is_told_what_became_of_it() {
    let snapshot = sample::fleet();
    assert!(!render(&snapshot, &look()).contains("method=\"post\""));
    let admin = Look {
        admin: true,
        outcome: Some(Outcome::Partly),
        ..look()
    };
    let page = render(&snapshot, &admin);
    let expected = [
        "<form method=\"post\" action=\"/stats\">",
        "<input type=\"checkbox\" name=\"s\" value=\"node-1\" aria-label=\"choose node-1\">",
        "<input type=\"hidden\" name=\"b\" value=\"#3\">",
        "<option value=\"maint\">",
        "Done in part",
    ];
    for text in expected {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(Outcome::of(";st=DENY;norefresh"), Some(Outcome::Denied));
    assert_eq!(Outcome::of(";st=<script>"), Some(Outcome::Unknown));
    assert_eq!(Outcome::of(";norefresh"), None);
}

#[test]
fn a_part_of_a_name_and_what_is_up_choose_what_is_shown() {
    let snapshot = sample::fleet();
    let of = |rest: &str| {
        let look = Look {
            selection: Selection::new(&[], rest),
            ..look()
        };
        render(&snapshot, &look)
    };
    let part = of(";scope=ws_");
    assert!(part.contains("ws_backend") && !part.contains("http_backend"));
    assert!(
        part.contains("value=\"ws_\""),
        "the field keeps what was asked"
    );
    let up = of(";up");
    assert!(up.contains(">node-1<") && !up.contains(">node-5<") && !up.contains(">node-7<"));
    let no_maint = of(";no-maint");
    assert!(no_maint.contains(">node-5<") && !no_maint.contains(">node-7<"));
    let names = Selection::new(&["metrics".into()], "");
    let scoped = Look {
        selection: names,
        ..look()
    };
    let scoped = render(&snapshot, &scoped);
    assert!(scoped.contains(">metrics<") && !scoped.contains("ws_backend</span>"));
}

#[test]
fn a_long_page_is_written_in_pieces() {
    let mut snapshot = sample::fleet();
    let servers = snapshot.backends[0].servers.clone();
    let many = servers.iter().cycle().take(3000).cloned();
    snapshot.backends[0].servers = many.collect();
    let mut page = Page::new(snapshot, look());
    let (mut pieces, mut longest) = (0, 0);
    loop {
        let mut piece = String::new();
        let more = page.piece(&mut piece);
        pieces += 1;
        longest = longest.max(piece.len());
        if !more {
            break;
        }
    }
    assert!(
        pieces > 20 && longest < 64 * 1024,
        "{pieces} pieces, the longest of {longest}"
    );
}
