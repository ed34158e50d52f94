//! Log-format strings (manual 8.2.6): text, `%ci`-like variables and `%[samples]`.

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Cursor;
use crate::expr::{Context, Sample, Stage, sample};
use crate::lexer::Word;
use crate::nearest::nearest;
use crate::source::Span;

/// The log line of `option httplog` (manual 8.2.3).
pub const HTTPLOG: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
     %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";

/// The log line of `option httplog clf` (manual 8.2.3).
pub const HTTPLOG_CLF: &str = "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s %TR \
     %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl";

/// The log line of `option tcplog` (manual 8.2.2).
pub const TCPLOG: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// The log line of `option tcplog clf` (manual 8.2.2).
pub const TCPLOG_CLF: &str = "%{+Q}o %{-Q}ci - - [%T] \"TCP \" 000 %B \"\" \"\" %cp %ms %ft %b \
     %s %Th %Tw %Tc %Tt %U %ts-- %ac %fc %bc %sc %rc %sq %bq \"\" \"\" ";

/// The log line of `option httpslog` (manual 8.2.4).
pub const HTTPSLOG: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
     %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r \
     %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] \
     %[ssl_fc_sni]/%sslv/%sslc";

/// A log-format string (manual 8.2.6, "Custom log format"): what `log-format`, `set-header`,
/// `redirect` and `return` write.
#[derive(Debug, Clone, Default)]
pub struct Format {
    /// Its parts, in order.
    pub parts: Vec<Part>,
    /// Whether it is for a log line: unsafe bytes are written `#XX` there, and as `%XX` in messages.
    pub log: bool,
    /// Whether it is [`HTTPLOG`], whoever has written it.
    pub is_httplog: bool,
    /// `%{+json}o`, `%{+cbor}o`: it is written as one object, of [`Self::items`] alone.
    pub encoding: Option<LineEncoding>,
    /// What has a name, where the whole is an object.
    pub items: Vec<Item>,
    /// `%{+bin}o`: bytes are left as they are.
    pub binary: bool,
}

/// A part with a name: `%(name)ci`.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its key in the object.
    pub name: Arc<str>,
    /// What it stands for.
    pub part: Part,
}

/// How values are written where not as texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEncoding {
    /// RFC 8259.
    Json,
    /// RFC 8949; in hexadecimal digits unless with `+bin`.
    Cbor,
}

/// `%(name:type)`: what a value is made before it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// `str`.
    Str,
    /// `sint`.
    Int,
    /// `bool`.
    Bool,
}

impl Format {
    /// Whether the variable is in it.
    pub fn has(&self, variable: Variable) -> bool {
        let is_it = |part: &Part| matches!(part, Part::Variable(it, _) if *it == variable);
        self.all().any(is_it)
    }

    /// All parts, named or not.
    pub fn all(&self) -> impl Iterator<Item = &Part> {
        let named = self.items.iter().map(|item| &item.part);
        self.parts.iter().chain(named)
    }
}

/// One part of a log-format string.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text as it is.
    Text(Arc<str>),
    /// A space that separates fields: written once, however many there are. Only in log lines.
    Space,
    /// `%ci`-like variable.
    Variable(Variable, Flags),
    /// `%[sample]`.
    Sample(Box<Sample>, Flags),
}

/// `{+Q,+X,+E}`: how a part is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// `Q`: between double quotes.
    pub quote: bool,
    /// `E`: quotes, backslashes and closing brackets are escaped with a backslash.
    pub escape: bool,
    /// `X`: numbers and addresses in hexadecimal.
    pub hex: bool,
    /// `M`: an empty value is written "-". The default in log lines.
    pub mandatory: bool,
    /// `json`, `cbor`.
    pub encoding: Option<LineEncoding>,
    /// `bin`, where it was set for all that follows.
    pub binary: bool,
    /// The type that was asked for; only where there is an encoding.
    pub forced: Option<Forced>,
}

/// The variables of log formats; the name is the code after `%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    non_camel_case_types,
    reason = "each is named by HAProxy's manual, 8.2.4; the table of codes below carries the words"
)]
pub enum Variable {
    B,
    CC,
    CS,
    H,
    HM,
    HP,
    HPO,
    HQ,
    HU,
    HV,
    ID,
    OG,
    ST,
    T,
    Ta,
    Tc,
    Td,
    Ti,
    Th,
    Tl,
    Tq,
    TR,
    Tr,
    Ts,
    Tt,
    Tu,
    Tw,
    U,
    ac,
    b,
    bc,
    bi,
    bp,
    bq,
    ci,
    cp,
    f,
    fc,
    fi,
    fp,
    ft,
    hr,
    hrl,
    hs,
    hsl,
    lc,
    ms,
    pid,
    r,
    rc,
    rt,
    s,
    sc,
    si,
    sp,
    sq,
    sslc,
    sslv,
    t,
    tr,
    trg,
    trl,
    ts,
    tsc,
}

/// Reads a whole word as a log-format string. In [`Stage::Log`] runs of spaces are merged and
/// empty values are written "-". Fails on variables and samples that do not exist, or that can have
/// no value at this stage.
pub fn parse(word: &Word, context: &Context<'_>) -> Result<Format, Diagnostic> {
    read(word, context, context.stage == Stage::Log)
}

/// The same, written like a log line at whatever stage: `unique-id-format`.
pub fn parse_line(word: &Word, context: &Context<'_>) -> Result<Format, Diagnostic> {
    read(word, context, true)
}

fn read(word: &Word, context: &Context<'_>, log: bool) -> Result<Format, Diagnostic> {
    let mut reading = Reading {
        cursor: Cursor::new(word, 0),
        log,
        flags: Flags {
            mandatory: log,
            ..Flags::default()
        },
        text: String::new(),
        parts: Vec::new(),
        name: None,
        items: Vec::new(),
    };
    while !reading.cursor.rest().is_empty() {
        reading.part(context)?;
    }
    reading.flush();
    let Flags {
        encoding, binary, ..
    } = reading.flags;
    Ok(Format {
        // What has no name is no part of an object.
        parts: match encoding {
            Some(_) => Vec::new(),
            None => reading.parts,
        },
        log,
        is_httplog: log && word.text == HTTPLOG,
        encoding,
        items: match encoding {
            Some(_) => reading.items,
            None => Vec::new(),
        },
        binary,
    })
}

/// One of the built-in log lines, [`HTTPLOG`] and its like; `context` is the section's.
pub fn builtin(text: &str, context: &Context<'_>) -> Result<Format, Diagnostic> {
    let word = Word {
        text: text.to_owned(),
        span: Span::default(),
        quoted: false,
    };
    let stage = Stage::Log;
    parse(&word, &Context { stage, ..*context })
}

struct Reading<'a> {
    cursor: Cursor<'a>,
    log: bool,
    /// What `%o` has set for all that follows.
    flags: Flags,
    /// Plain text read so far.
    text: String,
    parts: Vec<Part>,
    /// The name of the item that is being read.
    name: Option<Arc<str>>,
    items: Vec<Item>,
}

impl<'a> Reading<'a> {
    /// Reads plain text up to the next part, or that part.
    fn part(&mut self, context: &Context<'_>) -> Result<(), Diagnostic> {
        let rest = self.cursor.rest();
        let is_special = |c: char| c == '%' || (self.log && c == ' ');
        let plain = rest.find(is_special).unwrap_or(rest.len());
        if plain > 0 {
            self.text.push_str(&rest[..plain]);
            self.cursor.skip(plain);
            return Ok(());
        }
        if self.cursor.eat(b' ') {
            self.space();
            return Ok(());
        }
        let start = self.cursor.position();
        self.cursor.skip(1);
        if self.cursor.eat(b'%') {
            self.text.push('%');
            return Ok(());
        }
        self.item(start, context)
    }

    fn space(&mut self) {
        self.flush();
        if !matches!(self.parts.last(), Some(Part::Space)) {
            self.parts.push(Part::Space);
        }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            let text: Arc<str> = std::mem::take(&mut self.text).into();
            self.parts.push(Part::Text(text));
        }
    }

    /// Reads what stands behind a percent sign: `(name)`, `{flags}`, then a variable or a sample.
    fn item(&mut self, start: usize, context: &Context<'_>) -> Result<(), Diagnostic> {
        let forced = self.item_name(start)?;
        let mut flags = Flags {
            forced,
            ..self.flags
        };
        if self.cursor.eat(b'{') {
            self.item_flags(start, &mut flags, context)?;
        }
        self.cursor.eat(b'-'); // as HAProxy, which reads a minus here and ignores it
        if self.cursor.eat(b'[') {
            return self.sample(start, flags, context);
        }
        let code = self.letters();
        let span = self
            .cursor
            .span(start..self.cursor.position().max(start + 1));
        match code {
            "" => Err(Diagnostic::alert(span, "a percent sign without a variable")
                .label("expected a variable such as '%ci', or '%[sample]'")
                .help("for a percent sign itself write '%%'")),
            "o" => {
                self.flags = flags;
                self.flags.forced = None;
                Ok(())
            }
            code => {
                let variable = find(code, span)?;
                self.push(Part::Variable(variable, flags));
                Ok(())
            }
        }
    }

    fn letters(&mut self) -> &'a str {
        let rest = self.cursor.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic());
        let (code, _) = rest.split_at(end.unwrap_or(rest.len()));
        self.cursor.skip(code.len());
        code
    }

    /// Ends an item.
    fn push(&mut self, part: Part) {
        self.flush();
        if let Some(name) = self.name.take() {
            let part = part.clone();
            self.items.push(Item { name, part });
        }
        self.parts.push(part);
    }

    /// `(name:type)`; both may be missing. Gives the type.
    fn item_name(&mut self, start: usize) -> Result<Option<Forced>, Diagnostic> {
        self.name = None;
        if !self.cursor.eat(b'(') {
            return Ok(None);
        }
        let rest = self.cursor.rest();
        let Some(end) = rest.find(')') else {
            let span = self.cursor.span(start..start + 2);
            let problem = Diagnostic::alert(span, "the name of this item is not closed");
            return Err(problem.label("expected a ')'"));
        };
        let at = self.cursor.position();
        let span = self.cursor.span(at..at + end.max(1));
        self.cursor.skip(end + 1);
        let (name, kind) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if let Some(odd) = name.chars().find(|c| !allowed(*c)) {
            let message = format!("character '{odd}' is not allowed in the name of an item");
            return Err(Diagnostic::alert(span, message)
                .label("expected letters, digits, '_', '-' and '.'"));
        }
        if !name.is_empty() {
            self.name = Some(name.into());
        }
        match kind {
            "" => Ok(None),
            "str" => Ok(Some(Forced::Str)),
            "sint" => Ok(Some(Forced::Int)),
            "bool" => Ok(Some(Forced::Bool)),
            _ => Err(
                Diagnostic::alert(span, format!("'{kind}' is no type of an item"))
                    .label("expected 'str', 'sint' or 'bool'"),
            ),
        }
    }

    /// `+Q,-X`; the opening brace was read already.
    fn item_flags(
        &mut self,
        start: usize,
        flags: &mut Flags,
        context: &Context<'_>,
    ) -> Result<(), Diagnostic> {
        let rest = self.cursor.rest();
        let Some(end) = rest.find('}') else {
            let span = self.cursor.span(start..start + 2);
            let problem = Diagnostic::alert(span, "the flags of this item are not closed");
            return Err(problem.label("expected a '}'"));
        };
        let at = self.cursor.position();
        self.cursor.skip(end + 1);
        let span = self.cursor.span(at..at + end.max(1));
        let words = rest[..end].split([',', ' ']);
        for word in words.filter(|word| !word.is_empty()) {
            if let Err(message) = set_flag(flags, word) {
                context.notices.borrow_mut().push(
                    Diagnostic::warning(span, message)
                        .label("expected flags such as '+Q', '-Q', '+X' or '+E'"),
                );
            }
        }
        Ok(())
    }

    /// A sample up to its closing bracket; the opening one was read already.
    fn sample(
        &mut self,
        start: usize,
        flags: Flags,
        context: &Context<'_>,
    ) -> Result<(), Diagnostic> {
        let at = self.cursor.position();
        let sample = sample::read(&mut self.cursor, Some(b']'), context)?;
        if !self.cursor.eat(b']') {
            let span = self.cursor.span_from(start);
            return Err(Diagnostic::alert(span, "this sample is not closed")
                .label("expected a ']'")
                .help("spaces end a word: quote the whole string"));
        }
        let end = self.cursor.position() - 1;
        sample::require_met(&sample, self.cursor.span(at..end), context)?;
        self.push(Part::Sample(Box::new(sample), flags));
        Ok(())
    }
}

/// Sets or clears a flag. One without a sign changes nothing in HAProxy, and neither here.
fn set_flag(flags: &mut Flags, word: &str) -> Result<(), String> {
    let (on, name) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
        (Some(name), _) => (true, name),
        (_, Some(name)) => (false, name),
        _ => return Err(format!("the flag '{word}' has no sign and does nothing")),
    };
    match name {
        "Q" => flags.quote = on,
        "X" => flags.hex = on,
        "E" => flags.escape = on,
        "M" => flags.mandatory = on,
        "json" => flags.encoding = on.then_some(LineEncoding::Json),
        "cbor" => flags.encoding = on.then_some(LineEncoding::Cbor),
        "bin" => flags.binary = on,
        _ => return Err(format!("unknown flag '{name}'")),
    }
    Ok(())
}

fn find(code: &str, span: Span) -> Result<Variable, Diagnostic> {
    if let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == code) {
        return Ok(*variable);
    }
    let problem = Diagnostic::alert(span, format!("unknown variable '%{code}'"));
    // "%cip" is "%ci" with a letter glued to it more often than a wrong "%cp"
    let begins = |(known, _): &&(&'static str, Variable)| code.starts_with(known);
    let prefix = VARIABLES
        .iter()
        .filter(begins)
        .max_by_key(|(known, _)| known.len());
    let known = prefix.map(|(known, _)| *known);
    match known.or_else(|| nearest(code, VARIABLES.iter().map(|(known, _)| *known))) {
        Some(known) => Err(problem.help(format!(
            "did you mean '%{known}'? For a percent sign itself write '%%'"
        ))),
        None => Err(problem.help("for a percent sign itself write '%%'")),
    }
}

/// The first variable of a format that only has a meaning in `mode http` (manual 8.2.6, "H").
pub(crate) fn of_http(format: &Format) -> Option<&'static str> {
    use Variable as V;
    let variables = format.all().filter_map(|part| match part {
        Part::Variable(variable, _) => Some(*variable),
        _ => None,
    });
    let mut of_http = variables.filter(|variable| {
        matches!(
            variable,
            V::CC
                | V::CS
                | V::HM
                | V::HP
                | V::HPO
                | V::HQ
                | V::HU
                | V::HV
                | V::TR
                | V::Ta
                | V::Ti
                | V::Tq
                | V::Tr
                | V::r
                | V::tr
                | V::trg
                | V::trl
        )
    });
    of_http.next().map(code)
}

/// The code after the percent sign.
pub fn code(variable: Variable) -> &'static str {
    let row = VARIABLES.iter().find(|(_, known)| *known == variable);
    row.map_or("", |(code, _)| code)
}

#[rustfmt::skip] // a table
const VARIABLES: [(&str, Variable); 64] = [
    ("B", Variable::B), ("CC", Variable::CC), ("CS", Variable::CS), ("H", Variable::H),
    ("HM", Variable::HM), ("HP", Variable::HP), ("HPO", Variable::HPO), ("HQ", Variable::HQ),
    ("HU", Variable::HU), ("HV", Variable::HV), ("ID", Variable::ID), ("OG", Variable::OG), ("ST", Variable::ST),
    ("T", Variable::T), ("Ta", Variable::Ta), ("Tc", Variable::Tc), ("Td", Variable::Td),
    ("Ti", Variable::Ti), ("Th", Variable::Th), ("Tl", Variable::Tl), ("Tq", Variable::Tq),
    ("TR", Variable::TR), ("Tr", Variable::Tr), ("Ts", Variable::Ts), ("Tt", Variable::Tt),
    ("Tu", Variable::Tu), ("Tw", Variable::Tw), ("U", Variable::U), ("ac", Variable::ac),
    ("b", Variable::b), ("bc", Variable::bc), ("bi", Variable::bi), ("bp", Variable::bp),
    ("bq", Variable::bq), ("ci", Variable::ci), ("cp", Variable::cp), ("f", Variable::f),
    ("fc", Variable::fc), ("fi", Variable::fi), ("fp", Variable::fp), ("ft", Variable::ft),
    ("hr", Variable::hr), ("hrl", Variable::hrl), ("hs", Variable::hs), ("hsl", Variable::hsl),
    ("lc", Variable::lc), ("ms", Variable::ms), ("pid", Variable::pid), ("r", Variable::r),
    ("rc", Variable::rc), ("rt", Variable::rt), ("s", Variable::s), ("sc", Variable::sc),
    ("si", Variable::si), ("sp", Variable::sp), ("sq", Variable::sq), ("sslc", Variable::sslc),
    ("sslv", Variable::sslv), ("t", Variable::t), ("tr", Variable::tr), ("trg", Variable::trg),
    ("trl", Variable::trl), ("ts", Variable::ts), ("tsc", Variable::tsc),
];
