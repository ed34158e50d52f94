//! The words of the table: steps of a client, answers of a node, and bytes with things to do among
//! them.

use std::time::Duration;

/// One thing to do among bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Send these.
    Bytes(Vec<u8>),
    /// Send that many, in a pattern.
    Fill(usize),
    /// Wait.
    Wait(Duration),
    /// Close the connection.
    Close,
    /// Close our direction only.
    Half,
    /// Close it with RST.
    Reset,
    /// Say nothing until the other side closes.
    Hang,
    /// A node: answer without having read the body.
    Early,
    /// A node: read the request's body here.
    Body,
    /// A node: the request's body.
    Echo,
    /// A node: the accept that belongs to the request's key.
    Accept,
    /// A node: read and send back until the other side closes.
    Tunnel,
    /// A node: do not read HTTP at all. First piece only.
    Raw,
    /// Read that many bytes, and keep them for the comparison.
    Take(usize),
    /// Read to the end, and keep it for the comparison.
    All,
}

/// Bytes, and things to do among them.
pub(crate) type Script = Vec<Piece>;

/// One step of a case.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// What nodes answer from now on. Several at the beginning of a case answer one request after
    /// the other, and the last one stays.
    Node(Option<String>, Script),
    /// Open another connection, and go on with it.
    Open(Opening),
    /// Go on with a connection opened before.
    Use(String),
    /// Send.
    Send(Script),
    /// Send, and read the response to that method.
    Request(Script, String),
    /// Read that many responses to requests of that method.
    Read(usize, String),
    /// Read exactly that many bytes.
    Bytes(usize),
    /// Read until the other side closes.
    Eof,
    /// A node stops listening, and closes its connections.
    Stop(String),
    /// It listens again.
    Start(String),
    /// What a node answers to checks.
    Health(String, Script),
    /// Wait until a server's status, as the statistics show it, begins so.
    WaitStatus(String, String),
    /// Compare columns of a row of the statistics.
    Stats(String, Vec<String>),
    /// Wait until nodes have got that many requests in this case.
    WaitRequests(usize),
    /// The first check that a node got.
    Check(String),
}

/// How a connection is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opening {
    /// Its name in the case.
    pub(crate) name: String,
    /// The `<port:NAME>` it goes to.
    pub(crate) to: String,
    /// The address it comes from.
    pub(crate) from: String,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            name: "a".into(),
            to: "fe".into(),
            from: "127.0.0.1".into(),
        }
    }
}

impl Step {
    /// One line of the table.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        if word.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Ok(Self::Request(request(line)?, word.to_owned()));
        }
        Ok(match word {
            ">" => Self::Send(script(rest)?),
            ">>" => Self::Request(script(rest)?, "GET".into()),
            "ws" => Self::Request(upgrade(rest)?, "GET".into()),
            "node" => {
                let (who, script) = answer(rest)?;
                Self::Node(who, script)
            }
            "open" => Self::Open(opening(rest)?),
            "use" => Self::Use(rest.to_owned()),
            "read" => {
                let (count, method) = rest.split_once(' ').unwrap_or((rest, "GET"));
                let count = if count.is_empty() { 1 } else { number(count)? };
                Self::Read(count, method.to_owned())
            }
            "bytes" => Self::Bytes(number(rest)?),
            "eof" => Self::Eof,
            "stop" => Self::Stop(rest.to_owned()),
            "start" => Self::Start(rest.to_owned()),
            "health" => {
                let (who, rest) = rest.split_once(' ').ok_or("health NODE ANSWER")?;
                Self::Health(who.to_owned(), script(rest)?)
            }
            "status" => {
                let (server, status) = rest.split_once(' ').ok_or("status BACKEND/SERVER WORD")?;
                Self::WaitStatus(server.to_owned(), status.to_owned())
            }
            "stats" => {
                let mut words = rest.split_whitespace().map(str::to_owned);
                let row = words.next().ok_or("stats PROXY/SERVER COLUMN…")?;
                Self::Stats(row, words.collect())
            }
            "requests" => Self::WaitRequests(number(rest)?),
            "check" => Self::Check(rest.to_owned()),
            other => return Err(format!("unknown step {other:?}")),
        })
    }
}

/// `[NODE] SCRIPT`: nodes are called `n` and a digit.
pub(crate) fn answer(text: &str) -> Result<(Option<String>, Script), String> {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let is_node =
        first.len() == 2 && first.starts_with('n') && first.as_bytes()[1].is_ascii_digit();
    if is_node {
        return Ok((Some(first.to_owned()), script(rest)?));
    }
    Ok((None, script(text)?))
}

/// `NAME [to PORT] [from ADDRESS]`.
fn opening(text: &str) -> Result<Opening, String> {
    let mut opening = Opening::default();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let mut value = || words.next().map(str::to_owned).ok_or("a word is missing");
        match word {
            "to" => opening.to = value()?,
            "from" => opening.from = value()?,
            name => opening.name = name.to_owned(),
        }
    }
    Ok(opening)
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("no number: {text:?}"))
}

/// `METHOD TARGET [HTTP/x.y] {Name: value}… ["body"]`, with `Host: a` unless a Host is there or
/// `{-}` asks for none, and with a Content-Length where a body is and nothing frames it.
fn request(line: &str) -> Result<Script, String> {
    let ends = [line.find(" {"), line.find(" \"")];
    let end = ends.into_iter().flatten().min().unwrap_or(line.len());
    let (start, mut rest) = (line[..end].trim(), line[end..].trim_start());
    let mut fields = Vec::new();
    while let Some(after) = rest.strip_prefix('{') {
        let ends = after.find("} ").or_else(|| after.len().checked_sub(1));
        let (field, after) = after.split_at(ends.ok_or("a field without its end")?);
        rest = after.strip_prefix('}').ok_or("a field without its end")?;
        rest = rest.trim_start();
        fields.push(field.to_owned());
    }
    let body = match rest.strip_prefix('"').map(|rest| rest.strip_suffix('"')) {
        None if rest.is_empty() => None,
        Some(Some(body)) => Some(script(body)?),
        _ => return Err(format!("{rest:?} behind the fields")),
    };
    let has = |name: &str| {
        let mut names = fields.iter().filter_map(|field| field.split_once(':'));
        names.any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let mut head = start.to_owned();
    if !start.contains(" HTTP/") {
        head.push_str(" HTTP/1.1");
    }
    head.push_str("\\n");
    if !has("host") && !fields.iter().any(|field| field == "-") {
        head.push_str("Host: a\\n");
    }
    for field in fields.iter().filter(|field| *field != "-") {
        head.push_str(field);
        head.push_str("\\n");
    }
    let framed = has("content-length") || has("transfer-encoding");
    if let (Some(body), false) = (&body, framed) {
        head.push_str(&format!("Content-Length: {}\\n", len(body)));
    }
    head.push_str("\\n");
    let mut pieces = script(&head)?;
    pieces.extend(body.unwrap_or_default());
    Ok(joined(pieces))
}

/// Bytes that follow each other are sent in one go: whether a body came together with its head makes
/// a difference, and must not be left to chance.
fn joined(pieces: Script) -> Script {
    let mut joined: Script = Vec::new();
    for piece in pieces {
        let piece = match piece {
            Piece::Fill(len) => Piece::Bytes(pattern(len)),
            other => other,
        };
        match (joined.last_mut(), piece) {
            (Some(Piece::Bytes(before)), Piece::Bytes(more)) => before.extend(more),
            (_, piece) => joined.push(piece),
        }
    }
    joined
}

/// A good upgrade request: `PATH {Name: value}…`.
fn upgrade(line: &str) -> Result<Script, String> {
    request(&format!(
        "GET {line} {{Connection: Upgrade}} {{Upgrade: websocket}} {{Sec-WebSocket-Version: 13}} \
         {{Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==}}"
    ))
}

/// How many bytes a script sends.
fn len(script: &Script) -> usize {
    let lens = script.iter().map(|piece| match piece {
        Piece::Bytes(bytes) => bytes.len(),
        _ => 0,
    });
    lens.sum()
}

/// Text that may only be bytes.
pub(crate) fn plain(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for piece in script(text)? {
        match piece {
            Piece::Bytes(more) => bytes.extend(more),
            other => return Err(format!("{other:?} is not for here")),
        }
    }
    Ok(bytes)
}

/// Bytes with escapes, and actions in angle brackets.
pub(crate) fn script(text: &str) -> Result<Script, String> {
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => escape(&mut chars, &mut bytes)?,
            '<' => {
                let word: String = chars.by_ref().take_while(|c| *c != '>').collect();
                if !bytes.is_empty() {
                    pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
                }
                pieces.extend(action(&word)?);
            }
            other => bytes.extend(other.to_string().bytes()),
        }
    }
    if !bytes.is_empty() {
        pieces.push(Piece::Bytes(bytes));
    }
    Ok(joined(pieces))
}

/// `\n` is a line end as HTTP wants it, CR LF; `\l` is a line feed alone, `\r` a CR alone.
fn escape(chars: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Result<(), String> {
    match chars.next() {
        Some('n') => bytes.extend(b"\r\n"),
        Some('l') => bytes.push(b'\n'),
        Some('r') => bytes.push(b'\r'),
        Some('t') => bytes.push(b'\t'),
        Some('s') => bytes.push(b' '),
        Some('0') => bytes.push(0),
        Some('x') => {
            let digits: String = chars.take(2).collect();
            let byte = u8::from_str_radix(&digits, 16);
            bytes.push(byte.map_err(|_| format!("no byte: \\x{digits}"))?);
        }
        Some(other) => bytes.extend(other.to_string().bytes()),
        None => return Err("a backslash at the end".into()),
    }
    Ok(())
}

fn action(word: &str) -> Result<Script, String> {
    let (word, rest) = word.split_once(' ').unwrap_or((word, ""));
    Ok(vec![match word {
        "fill" => Piece::Fill(number(rest)?),
        "wait" => Piece::Wait(Duration::from_millis(number(rest)? as u64)),
        "close" => Piece::Close,
        "half" => Piece::Half,
        "reset" => Piece::Reset,
        "hang" => Piece::Hang,
        "early" => Piece::Early,
        "body" => Piece::Body,
        "echo" => Piece::Echo,
        "accept" => Piece::Accept,
        "tunnel" => Piece::Tunnel,
        "raw" => Piece::Raw,
        "take" => Piece::Take(number(rest)?),
        "all" => Piece::All,
        "ok" => Piece::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        "101" => {
            return script(
                "HTTP/1.1 101 Switching Protocols\\nConnection: Upgrade\\nUpgrade: websocket\\n\
                 Sec-WebSocket-Accept: <accept>\\n\\n<tunnel>",
            );
        }
        other => return Err(format!("unknown action <{other}>")),
    }])
}

/// The pattern of [`Piece::Fill`].
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(len).collect()
}
