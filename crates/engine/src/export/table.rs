//! The table of the statistics as text: CSV (management.txt 9.1), JSON and typed lines (9.2).

use std::fmt::Write as _;

use super::columns::{COLUMNS, Cell, Column, Kind};
use super::row::Row;
use super::{Place, Report, Selection, places};
use crate::snapshot::Snapshot;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `;csv`.
    Csv,
    /// `;json`.
    Json,
    /// `;typed`.
    Typed,
}

impl Form {
    /// The type under which it is sent.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Csv | Self::Typed => "text/plain; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// Lines of the statistics, one a step.
pub struct Table {
    snapshot: Snapshot,
    form: Form,
    /// `stats show-legends`: fills addresses, cookies and algorithms, which HAProxy shows to no one
    /// else.
    legends: bool,
    /// Whether backends say how many servers are left.
    counted: bool,
    places: Vec<Place>,
    /// Whether JSON ends its line, as it does on a terminal.
    ends_line: bool,
    /// Whether typed lines say what they are.
    described: bool,
    /// Which step comes next: the head, the lines, the end.
    next: usize,
}

impl Table {
    /// What `selection` leaves of a snapshot.
    pub fn new(snapshot: Snapshot, form: Form, selection: &Selection, legends: bool) -> Self {
        Self {
            places: places(&snapshot, selection),
            counted: selection.hides_servers(),
            snapshot,
            form,
            legends,
            ends_line: false,
            described: false,
            next: 0,
        }
    }

    /// The same with an end of line behind JSON.
    #[must_use]
    pub fn on_a_line_of_its_own(mut self) -> Self {
        self.ends_line = true;
        self
    }

    /// The same with a word behind each typed line.
    #[must_use]
    pub fn described(mut self) -> Self {
        self.described = true;
        self
    }

    fn cell<'a>(&self, column: &Column, row: &Row<'a>) -> Cell<'a> {
        match row {
            Row::Backend(it) if self.counted && column.name == "status" => {
                let (state, all) = (if it.up { "UP" } else { "DOWN" }, it.servers.len());
                let left = if it.active > 0 { it.active } else { it.backup };
                Cell::Text(format!("{state} ({left}/{all})").into())
            }
            _ => column.cell(row, self.legends),
        }
    }

    fn csv_line(&self, row: &Row<'_>, out: &mut String) {
        for column in COLUMNS {
            write_cell(out, &self.cell(column, row));
            out.push(',');
        }
        out.push('\n');
    }

    fn json_line(&self, row: &Row<'_>, out: &mut String) {
        out.push('[');
        let mut first = true;
        self.each_field(row, |position, column, cell| {
            let separator = if first { "" } else { "," };
            first = false;
            let (kind, proxy, id) = (row.kind_name(), row.proxy_id(), row.service_id());
            let name = column.name;
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "{separator}{{\"objType\":\"{kind}\",\"proxyId\":{proxy},\"id\":{id},\
                 \"field\":{{\"pos\":{position},\"name\":\"{name}\"}},\"processNum\":1,"
            );
            let [origin, nature, scope] = tag_words(column.tags(row));
            let _ = write!(
                out,
                "\"tags\":{{\"origin\":\"{origin}\",\"nature\":\"{nature}\",\"scope\":\"{scope}\"}},\
                 \"value\":{{\"type\":\"{}\",\"value\":",
                kind_word(column.kind)
            );
            match cell {
                Cell::Text(text) => json_text(out, text),
                cell => write_cell(out, cell),
            }
            out.push_str("}}");
        });
        out.push(']');
    }

    fn typed_lines(&self, row: &Row<'_>, out: &mut String) {
        let letter = &row.kind_name()[..1];
        self.each_field(row, |position, column, cell| {
            let (proxy, id, name) = (row.proxy_id(), row.service_id(), column.name);
            let (tags, kind) = (column.tags(row), kind_word(column.kind));
            let _ = write!(
                out,
                "{letter}.{proxy}.{id}.{position}.{name}.1:{tags}:{kind}:"
            );
            match cell {
                Cell::Text(text) => out.extend(text.chars().map(printable)),
                cell => write_cell(out, cell),
            }
            if self.described {
                let _ = write!(out, ":\"{name}\"");
            }
            out.push('\n');
        });
    }

    /// Cells that are not empty, and the position of their column.
    fn each_field(&self, row: &Row<'_>, mut each: impl FnMut(usize, &Column, &Cell<'_>)) {
        let columns = COLUMNS.iter().filter(|column| !column.is_border());
        for (position, column) in columns.enumerate() {
            let cell = self.cell(column, row);
            if !matches!(cell, Cell::Empty) {
                each(position, column, &cell);
            }
        }
    }
}

impl Report for Table {
    fn step(&mut self, out: &mut String) -> bool {
        let step = self.next;
        self.next += 1;
        let Some(index) = step.checked_sub(1) else {
            match self.form {
                Form::Csv => csv_header(out),
                Form::Json => out.push('['),
                Form::Typed => {}
            }
            return true;
        };
        let Some(place) = self.places.get(index) else {
            if index == self.places.len() && self.form == Form::Json {
                out.push(']');
                if self.ends_line {
                    out.push('\n');
                }
            }
            return false;
        };
        let row = place.row(&self.snapshot);
        match self.form {
            Form::Csv => self.csv_line(&row, out),
            Form::Json if index == 0 => self.json_line(&row, out),
            Form::Json => {
                out.push(',');
                self.json_line(&row, out);
            }
            Form::Typed => self.typed_lines(&row, out),
        }
        true
    }
}

fn csv_header(out: &mut String) {
    out.push_str("# ");
    for column in COLUMNS {
        out.push_str(column.name);
        out.push(',');
    }
    out.push('\n');
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::S32 => "s32",
        Kind::U32 => "u32",
        Kind::U64 => "u64",
        Kind::Str => "str",
    }
}

/// Origin, nature and scope in words (management.txt 9.2).
pub fn tag_words(tags: &str) -> [&'static str; 3] {
    let letter = |at: usize| tags.as_bytes().get(at).copied().unwrap_or_default();
    let origin = match letter(0) {
        b'M' => "Metric",
        b'S' => "Status",
        b'K' => "Key",
        b'C' => "Config",
        _ => "Product",
    };
    let nature = match letter(1) {
        b'A' => "Age",
        b'a' => "Avg",
        b'C' => "Counter",
        b'D' => "Duration",
        b'G' => "Gauge",
        b'L' => "Limit",
        b'M' => "Max",
        b'N' => "Name",
        b'O' => "Output",
        _ => "Rate",
    };
    let scope = if letter(2) == b'S' {
        "Service"
    } else {
        "Process"
    };
    [origin, nature, scope]
}

/// A text in quotes, escaped for JSON.
pub fn json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A line is a line: nothing that a node says may end it.
fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// Quotes where the text is ambiguous (it holds a comma, a quote), doubling quotes inside. Control
/// characters become spaces: a line is a row.
fn write_cell(out: &mut String, cell: &Cell) {
    match cell {
        Cell::Empty => {}
        Cell::MinusOne => out.push_str("-1"),
        Cell::Number(value) => out.push_str(itoa::Buffer::new().format(*value)),
        Cell::Text(text) => {
            let quoted = text.contains([',', '"', '\n', '\r']);
            if quoted {
                out.push('"');
            }
            for c in text.chars() {
                match c {
                    '"' => out.push_str("\"\""),
                    c => out.push(printable(c)),
                }
            }
            if quoted {
                out.push('"');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Selection, sample};
    use super::*;

    fn csv(snapshot: Snapshot, legends: bool) -> String {
        let selection = Selection::default();
        Table::new(snapshot, Form::Csv, &selection, legends).whole()
    }

    /// What Debian's 2.6.12 prints as its first line.
    const HEADER: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,\
        wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,\
        lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,\
        hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,\
        cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,\
        ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,\
        check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,\
        conn_rate,conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,\
        cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,\
        safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,\
        agg_server_check_status,agg_check_status,-,ssl_sess,ssl_reused_sess,ssl_failed_handshake,\
        h2_headers_rcvd,h2_data_rcvd,h2_settings_rcvd,h2_rst_stream_rcvd,h2_goaway_rcvd,\
        h2_detected_conn_protocol_errors,h2_detected_strm_protocol_errors,h2_rst_stream_resp,\
        h2_goaway_resp,h2_open_connections,h2_backend_open_streams,h2_total_connections,\
        h2_backend_total_streams,h1_open_connections,h1_open_streams,h1_total_connections,\
        h1_total_streams,h1_bytes_in,h1_bytes_out,h1_spliced_bytes_in,h1_spliced_bytes_out,";

    #[test]
    fn the_header_is_haproxys() {
        let csv = csv(sample::small(), false);
        assert_eq!(csv.lines().next(), Some(HEADER));
    }

    /// The rows HAProxy 2.6.12 printed for the same state of things, up to the end of the promised
    /// columns.
    #[test]
    fn rows_are_haproxys() {
        let csv = csv(sample::small(), false);
        let rows: Vec<&str> = csv.lines().skip(1).collect();
        let expected = [
            "fe,FRONTEND,,,1,1,500,9,668,1067,1,0,0,,,,,OPEN,,,,,,,,,1,2,0,,,,0,9,0,9,,,,0,7,0,1,0,0,,9,9,9,,,0,0,0,0,,,,,,,,,,,,,,,,,,,,,http,,9,9,9,1,0,0,0,,,0,0,,,,,,,0,,,,,,,,",
            "tcpfe,FRONTEND,,,0,0,9983,0,0,0,0,0,0,,,,,OPEN,,,,,,,,,1,3,0,,,,0,0,0,0,,,,,,,,,,,0,0,0,,,0,0,0,0,,,,,,,,,,,,,,,,,,,,,tcp,,0,0,0,,0,0,0,,,,,,,,,,,0,,,,,,,,",
            "be,s1,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,1,0,0,0,3,0,,1,4,1,,0,,2,0,,0,L7OK,200,1,0,0,0,0,0,0,,,,0,0,0,,,,,-1,,,0,0,0,0,,,,Layer7 check passed,,2,3,4,,,,,,http,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,1,1,,,",
            "be,s2,0,0,0,1,100,6,498,750,,0,,0,0,0,0,UP,10,1,0,0,0,3,0,7,1,4,2,,6,,2,6,,6,L7OK,200,1,0,6,0,0,0,0,,,,6,0,0,,,,,0,,,0,1,1,2,,,,Layer7 check passed,,2,3,4,,,,,,http,,,,,,,,0,6,0,,,1,,0,1,1,2,0,1,0,0,1,10,,,",
            "be,bk,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,0,1,0,0,3,0,,1,4,3,,0,,2,0,,0,L7OK,200,1,0,0,0,0,0,0,,,,0,0,0,,,,,-1,,,0,0,0,0,,,,Layer7 check passed,,2,3,4,,,,,,http,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,1,1,,,",
            "be,BACKEND,0,0,0,1,50,6,498,750,0,0,,0,0,0,0,UP,11,2,1,,0,3,0,,1,4,0,,6,,1,6,,6,,,,0,6,0,0,0,0,,,,6,0,0,0,0,0,0,0,,,0,1,1,2,,,,,,,,,,,,,,http,,,,,,,,0,6,0,0,0,,,0,1,1,2,0,,,,,11,0,0,0",
            "b2,nochk,0,0,0,1,,1,84,125,,0,,0,0,0,0,no check,1,1,0,,,3,,,1,5,1,,1,,2,1,,1,,,,0,1,0,0,0,0,,,,1,0,0,,,,,0,,,0,0,1,1,,,,,,,,,,,,,,http,,,,,,,,0,1,0,,,1,,0,0,1,1,0,1,0,0,1,1,,,",
            "b2,dis,0,0,0,0,,0,0,0,,0,,0,0,0,0,MAINT,1,1,0,0,0,3,3,,1,5,2,,0,,2,0,,0,,,,0,0,0,0,0,0,,,,0,0,0,,,,,-1,,,0,0,0,0,,,,,,,,,,,,,,http,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,0,1,,,",
            "b2,BACKEND,0,0,0,1,50,1,84,125,0,0,,0,0,0,0,UP,1,1,0,,0,3,0,,1,5,0,,1,,1,1,,1,,,,0,1,0,0,0,0,,,,1,0,0,0,0,0,0,0,,,0,0,1,1,,,,,,,,,,,,,,http,,,,,,,,0,1,0,0,0,,,0,0,1,1,0,,,,,1,0,0,0",
            "tcpbe,t1,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,1,0,0,0,3,0,,1,6,1,,0,,2,0,,0,L4OK,,0,,,,,,,,,,,0,0,,,,,-1,,,0,0,0,0,,,,Layer4 check passed,,2,3,4,,,,,,tcp,,,,,,,,0,0,0,,,0,,0,0,0,0,0,0,0,0,1,1,,,",
            "tcpbe,BACKEND,0,0,0,0,999,0,0,0,0,0,,0,0,0,0,UP,1,1,0,,0,3,0,,1,6,0,,0,,1,0,,0,,,,,,,,,,,,,,0,0,0,0,0,0,-1,,,0,0,0,0,,,,,,,,,,,,,,tcp,,,,,,,,0,0,0,,,,,0,0,0,0,0,,,,,1,0,0,0",
        ];
        assert_eq!(rows.len(), expected.len());
        for (row, expected) in rows.iter().zip(expected) {
            let (promised, _) = row.split_once(",-,").unwrap();
            assert_eq!(promised, expected);
        }
    }

    #[test]
    fn legends_show_addresses_and_algorithms() {
        let plain = csv(sample::small(), false);
        assert!(!plain.contains("127.0.0.1:21102") && !plain.contains("roundrobin"));
        let legends = csv(sample::small(), true);
        assert!(
            legends.contains(",127.0.0.1:21102,,http,") && legends.contains(",http,roundrobin,")
        );
    }

    #[test]
    fn hostile_names_stay_in_their_cell() {
        let cases = [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("a\nBACKEND,x", "\"a BACKEND,x\""),
            ("tab\there\u{1b}", "tab here "),
            ("", ""),
        ];
        for (name, expected) in cases {
            let mut out = String::new();
            write_cell(&mut out, &Cell::Text(name.into()));
            assert_eq!(out, expected);
        }
        let csv = csv(sample::hostile(), true);
        assert_eq!(
            csv.lines().count(),
            1 + places(&sample::hostile(), &Selection::default()).len()
        );
    }

    #[test]
    fn proxies_stand_in_the_order_of_their_ids() {
        let snapshot = sample::fleet();
        let csv = csv(snapshot, false);
        let of = |line: &str| line.splitn(3, ',').take(2).collect::<Vec<_>>().join("/");
        let names: Vec<String> = csv.lines().skip(1).map(of).collect();
        assert_eq!(names[0], "http-in/FRONTEND");
        let listen = names
            .iter()
            .position(|name| name == "metrics/FRONTEND")
            .unwrap();
        assert_eq!(names[listen + 1], "metrics/BACKEND");
        assert_eq!(names.last().unwrap(), "metrics/BACKEND");
    }

    #[test]
    fn typed_lines_are_haproxys() {
        let selection = Selection::default();
        let typed = Table::new(sample::small(), Form::Typed, &selection, false).whole();
        let lines: Vec<&str> = typed.lines().collect();
        for expected in [
            "F.2.0.0.pxname.1:KNS:str:fe",
            "F.2.0.7.stot.1:MCP:u64:9",
            "S.4.2.5.smax.1:MMP:u32:1",
            "S.4.1.55.lastsess.1:MAP:s32:-1",
            "S.4.2.38.check_duration.1:MDP:u64:1",
            "B.4.0.33.rate.1:MGP:u32:6",
            "B.4.0.102.agg_check_status.1:MGP:u32:0",
            "B.4.0.103.ssl_sess.1:MCP:u64:0",
        ] {
            assert!(lines.contains(&expected), "{expected}");
        }
    }

    #[test]
    fn json_is_a_list_of_lists_of_fields() {
        let selection = Selection::default();
        let json = Table::new(sample::hostile(), Form::Json, &selection, true).whole();
        let rows = json.matches("\"name\":\"pxname\"").count();
        assert_eq!(rows, places(&sample::hostile(), &selection).len());
        assert!(
            json.starts_with("[[{\"objType\":\"Frontend\",\"proxyId\":") && json.ends_with("}}]]")
        );
        assert!(!json.contains('\n'), "controls are escaped");
        let empty = Selection::new(&["nobody".into()], "");
        let json = Table::new(sample::small(), Form::Json, &empty, false).whole();
        assert_eq!(json, "[]");
    }

    #[test]
    fn backends_say_how_many_are_left_where_servers_may_be_hidden() {
        let selection = Selection::new(&[], ";csv;no-maint");
        let csv = Table::new(sample::small(), Form::Csv, &selection, false).whole();
        assert!(
            csv.contains("\nb2,BACKEND,") && csv.contains(",UP (1/2),"),
            "{csv}"
        );
        assert!(!csv.contains("\nb2,dis,"));
    }
}
