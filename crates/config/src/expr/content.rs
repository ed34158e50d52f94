//! Fetches over the bytes as they came: what TCP content inspection looks at (manual 7.3.5).

use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Condition, Context, Fetch, Needs, Side};

/// What is looked at in bytes that were received and not yet passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentFetch {
    /// `req.len`, `res.len`.
    Len(Side),
    /// `req.payload(offset,length)`, `res.payload(…)`; length 0: all there is.
    Payload {
        /// Whose.
        side: Side,
        /// First byte.
        offset: usize,
        /// How many; 0: to the end.
        length: usize,
    },
    /// `req.payload_lv(offset,width[,start])`: a block behind its own length.
    CountedPayload {
        /// Whose.
        side: Side,
        /// Where the length stands.
        offset: usize,
        /// How many bytes the length has.
        width: usize,
        /// Where the block begins.
        start: BlockStart,
    },
    /// `req.ssl_hello_type`.
    ClientHelloType,
    /// `res.ssl_hello_type`.
    ServerHelloType,
    /// `req.ssl_sni`.
    ServerName,
    /// `req.ssl_ver`: major times 65536 plus minor.
    Version,
    /// `req.ssl_alpn`.
    Protocol,
    /// `req.ssl_ec_ext`: whether groups are told.
    HasGroups,
    /// `req.ssl_st_ext`: 0 no ticket extension, 1 an empty one, 2 a ticket.
    Ticket,
    /// `req.ssl_cipherlist`.
    Ciphers,
    /// `req.ssl_supported_groups`.
    Groups,
    /// `req.ssl_sigalgs`.
    Signatures,
    /// `req.ssl_keyshare_groups`.
    KeyShareGroups,
    /// `req.rdp_cookie[(name)]`; an empty name: any.
    RdpCookie(Arc<str>),
    /// `req.rdp_cookie_cnt[(name)]`.
    RdpCookieCount(Arc<str>),
    /// `wait_end`: whether nothing more is waited for.
    WaitEnd,
}

/// Where a block begins whose length was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockStart {
    /// At this byte.
    At(usize),
    /// So many bytes behind the length; may be negative.
    Behind(i64),
}

impl Condition {
    /// Whether it looks at bytes as they came.
    pub fn looks_at_bytes(&self) -> bool {
        self.needs(|needs| {
            matches!(
                needs,
                Needs::RequestBytes | Needs::ResponseBytes | Needs::AnyBytes
            )
        })
    }

    /// Whether it looks at an HTTP request.
    pub fn looks_at_request(&self) -> bool {
        self.needs(Needs::is_of_request)
    }

    /// Whether it looks at an HTTP response.
    pub fn looks_at_response(&self) -> bool {
        self.needs(|needs| matches!(needs, Needs::ResponseHead | Needs::ResponseStatus))
    }

    fn needs(&self, which: impl Fn(Needs) -> bool) -> bool {
        let terms = self.any_of.iter().flatten();
        let mut entries = terms.flat_map(|term| &term.acl.entries);
        entries.any(|entry| which(entry.sample.needs))
    }
}

impl Needs {
    /// Whether it is something of an HTTP request.
    pub fn is_of_request(self) -> bool {
        matches!(self, Self::RequestLine | Self::RequestHead | Self::AnyHead)
    }
}

/// Furthest byte that can be asked for: `tune.bufsize` goes no further.
const OFFSET_MAX: i64 = 16 << 20;

fn fetch(content: ContentFetch) -> Result<Fetch, Diagnostic> {
    Ok(Fetch::Content(content))
}

pub(super) fn request_payload(
    arguments: &mut Arguments,
    _: &Context<'_>,
) -> Result<Fetch, Diagnostic> {
    payload(arguments, Side::Request)
}

pub(super) fn response_payload(
    arguments: &mut Arguments,
    _: &Context<'_>,
) -> Result<Fetch, Diagnostic> {
    payload(arguments, Side::Response)
}

fn payload(arguments: &mut Arguments, side: Side) -> Result<Fetch, Diagnostic> {
    let offset = position(arguments, "an offset")?;
    let length = position(arguments, "a length")?;
    fetch(ContentFetch::Payload {
        side,
        offset,
        length,
    })
}

pub(super) fn any_payload(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    payload(arguments, Side::AtHand)
}

pub(super) fn any_block(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    block(arguments, Side::AtHand)
}

pub(super) fn request_block(
    arguments: &mut Arguments,
    _: &Context<'_>,
) -> Result<Fetch, Diagnostic> {
    block(arguments, Side::Request)
}

pub(super) fn response_block(
    arguments: &mut Arguments,
    _: &Context<'_>,
) -> Result<Fetch, Diagnostic> {
    block(arguments, Side::Response)
}

fn block(arguments: &mut Arguments, side: Side) -> Result<Fetch, Diagnostic> {
    let offset = position(arguments, "the offset of a length")?;
    let span = arguments.span();
    let width = position(arguments, "the number of bytes it has")?;
    if width == 0 || width > size_of::<u64>() {
        return Err(
            Diagnostic::alert(span, format!("a length of {width} bytes cannot be read"))
                .label("expected 1 to 8 bytes"),
        );
    }
    let start = match arguments.optional() {
        None | Some(("", _)) => BlockStart::Behind(0),
        Some((text, span)) => start(text, span)?,
    };
    if matches!(start, BlockStart::Behind(distance) if distance + ((offset + width) as i64) < 0) {
        return Err(Diagnostic::alert(
            span,
            "the block begins before the first byte",
        ));
    }
    fetch(ContentFetch::CountedPayload {
        side,
        offset,
        width,
        start,
    })
}

fn start(text: &str, span: crate::source::Span) -> Result<BlockStart, Diagnostic> {
    let number = text.parse::<i64>().ok();
    match number.filter(|number| number.abs() <= OFFSET_MAX) {
        Some(number) if text.starts_with(['+', '-']) => Ok(BlockStart::Behind(number)),
        Some(number) => Ok(BlockStart::At(number as usize)),
        None => Err(
            Diagnostic::alert(span, format!("'{text}' is not an offset"))
                .label("expected a number, with '+' or '-' when it counts from the length"),
        ),
    }
}

fn position(arguments: &mut Arguments, what: &str) -> Result<usize, Diagnostic> {
    let span = arguments.span();
    let number = arguments.int(what)?;
    if !(0..=OFFSET_MAX).contains(&number) {
        return Err(Diagnostic::alert(span, format!("{number} is no {what}"))
            .label(format!("expected 0 to {OFFSET_MAX}")));
    }
    Ok(number as usize)
}

pub(super) fn rdp_cookie(arguments: &mut Arguments, _: &Context<'_>) -> Result<Fetch, Diagnostic> {
    fetch(ContentFetch::RdpCookie(name(arguments)))
}

pub(super) fn rdp_cookie_count(
    arguments: &mut Arguments,
    _: &Context<'_>,
) -> Result<Fetch, Diagnostic> {
    fetch(ContentFetch::RdpCookieCount(name(arguments)))
}

fn name(arguments: &mut Arguments) -> Arc<str> {
    arguments.optional().map_or("", |(name, _)| name).into()
}
