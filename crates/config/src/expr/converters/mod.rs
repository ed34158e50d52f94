//! Converters that can be applied, one row each (manual 7.3.1).

pub(super) mod crypto;
pub(super) mod date;
pub(super) mod encoding;
pub(super) mod forwarded;
pub(super) mod hashing;
pub(super) mod json;
pub(super) mod maps;
pub(super) mod protocols;
pub(super) mod state;
pub(super) mod text;
pub(super) mod vars;
pub(super) mod when;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::fetches::date_arguments;
use crate::expr::tables;
use crate::expr::{
    Context, Converter, IntOperand, Kind, Operator, Split, VarName, conditions_of_set, regexes,
};
use crate::lists::Matching;
use crate::source::Span;
use maps::MapOutput;

use Build::{Calculate, Look, Plain, With};
use Kind::{Addr, Any, Bin, Bool, Int, Method, Str};

/// One converter. What goes in is cast to what it takes, as the manual's 7.1 says.
pub(super) struct Row {
    /// How it is spelled.
    pub(super) name: &'static str,
    /// What a sample is cast to before.
    pub(super) input: Kind,
    /// The type of its result.
    pub(super) output: Kind,
    build: Build,
}

/// What a converter makes of its arguments.
enum Build {
    /// It takes none.
    Plain(Converter),
    /// A number.
    Calculate(Operator),
    /// Looks it up in a map.
    Look(Matching, MapOutput),
    /// Something of its own.
    With(fn(&mut Arguments, &Context<'_>) -> Result<Converter, Diagnostic>),
}

impl Row {
    /// The converter with its arguments.
    pub(super) fn build(
        &self,
        arguments: &mut Arguments,
        context: &Context<'_>,
    ) -> Result<Converter, Diagnostic> {
        match &self.build {
            Plain(converter) => Ok(converter.clone()),
            Calculate(operator) => arithmetic(*operator, arguments),
            Look(matching, output) => maps::read(*matching, *output, arguments, context),
            With(build) => build(arguments, context),
        }
    }
}

/// The converter of that name.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    let written_out = rows().find(|row| row.name == name);
    written_out.or_else(|| {
        let kind = tables::converter_kind(name)?;
        TABLE_ROWS.iter().find(|row| row.output == kind)
    })
}

/// All names, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let written_out = rows().map(|row| row.name);
    written_out.chain(tables::converter_names())
}

fn rows() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().copied().flatten()
}

/// All converters: those below, and families with a file of their own.
static FAMILIES: &[&[Row]] = &[
    ROWS,
    text::ROWS,
    encoding::ROWS,
    hashing::ROWS,
    crypto::ROWS,
    json::ROWS,
    date::ROWS,
    forwarded::ROWS,
    protocols::ROWS,
    state::ROWS,
    vars::ROWS,
    maps::ROWS,
    when::ROWS,
];

const fn row(name: &'static str, input: Kind, output: Kind, build: Build) -> Row {
    Row {
        name,
        input,
        output,
        build,
    }
}

/// Whether a value of one type can become one of another (manual 7.1). Whether it does may depend
/// on the value: not every text is an address.
pub(crate) fn castable(from: Kind, to: Kind) -> bool {
    // What has no type yet is known when it is there; what takes any takes all.
    !matches!(
        (from, to),
        (Addr, Bool) | (Bin | Method, Addr | Int | Bool) | (Bool, Addr | Bin)
    )
}

static ROWS: &[Row] = &[
    // texts
    row("lower", Str, Str, Plain(Converter::Lower)),
    row("upper", Str, Str, Plain(Converter::Upper)),
    row("length", Str, Int, Plain(Converter::Length)),
    row("field", Str, Str, With(field)),
    row("word", Str, Str, With(word)),
    row("ltrim", Str, Str, With(trim_start)),
    row("rtrim", Str, Str, With(trim_end)),
    row("regsub", Str, Str, With(substitution)),
    row("host_only", Str, Str, Plain(Converter::HostOnly)),
    row("port_only", Str, Int, Plain(Converter::PortOnly)),
    // encodings
    row("hex", Bin, Str, Plain(Converter::Hex)),
    row("hex2i", Str, Int, Plain(Converter::Hex2Int)),
    row("base64", Bin, Str, Plain(Converter::Base64)),
    row("b64dec", Str, Bin, Plain(Converter::Base64Decode)),
    row("url_dec", Str, Str, With(url_decode)),
    row("url_enc", Str, Str, With(url_encode)),
    row("bytes", Bin, Bin, With(bytes)),
    row("http_date", Int, Str, With(http_date)),
    // variables
    row("set-var", Any, Any, With(set_variable)),
    row("unset-var", Any, Any, With(unset_variable)),
    // addresses
    row("ipmask", Addr, Addr, With(address_mask)),
    // numbers and booleans
    row("iif", Bool, Str, With(choice)),
    row("bool", Int, Bool, Plain(Converter::Bool)),
    row("not", Int, Bool, Plain(Converter::Not)),
    row("odd", Int, Bool, Plain(Converter::Odd)),
    row("even", Int, Bool, Plain(Converter::Even)),
    row("neg", Int, Int, Plain(Converter::Negate)),
    row("cpl", Int, Int, Plain(Converter::Complement)),
    row("add", Int, Int, Calculate(Operator::Add)),
    row("sub", Int, Int, Calculate(Operator::Sub)),
    row("mul", Int, Int, Calculate(Operator::Mul)),
    row("div", Int, Int, Calculate(Operator::Div)),
    row("mod", Int, Int, Calculate(Operator::Mod)),
    row("and", Int, Int, Calculate(Operator::And)),
    row("or", Int, Int, Calculate(Operator::Or)),
    row("xor", Int, Int, Calculate(Operator::Xor)),
];

/// Converters on stick tables, by their types: [`tables`] knows their names. The key is made of the sample by
/// the table, whose type it must become.
static TABLE_ROWS: [Row; 2] = [
    row("table_", Any, Int, With(on_table)),
    row("in_table", Any, Bool, With(on_table)),
];

fn on_table(arguments: &mut Arguments, context: &Context<'_>) -> Result<Converter, Diagnostic> {
    tables::converter(&arguments.owner(), arguments, context)
}

fn field(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    split(arguments).map(Converter::Field)
}

fn word(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    split(arguments).map(Converter::Word)
}

fn trim_start(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    Ok(Converter::TrimStart(arguments.text("characters")?.0.into()))
}

fn trim_end(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    Ok(Converter::TrimEnd(arguments.text("characters")?.0.into()))
}

fn url_decode(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let in_form = arguments.optional_int("0 or 1")?;
    Ok(Converter::UrlDecode(in_form.is_some_and(|flag| flag != 0)))
}

fn http_date(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (offset, unit) = date_arguments(arguments)?;
    Ok(Converter::HttpDate { offset, unit })
}

fn choice(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let yes = arguments.text("the text if true")?.0.into();
    let no = arguments.text("the text if false")?.0.into();
    Ok(Converter::Choose(yes, no))
}

fn split(arguments: &mut Arguments) -> Result<Split, Diagnostic> {
    let span = arguments.span();
    let index = arguments.int("an index")?;
    if index == 0 {
        return Err(
            Diagnostic::alert(span, "index 0 does not exist").label("1 is the first, -1 the last")
        );
    }
    let (delimiters, _) = arguments.text("delimiters")?;
    if delimiters.is_empty() {
        return Err(Diagnostic::alert(span, "the list of delimiters is empty")
            .help("quote the delimiters, inside and outside: ''field(1,\",\")''"));
    }
    let delimiters = delimiters.into();
    let count = arguments.optional_int("a count")?.unwrap_or(1);
    let count =
        u64::try_from(count).map_err(|_| Diagnostic::alert(span, "a count cannot be negative"))?;
    Ok(Split {
        index,
        delimiters,
        count,
    })
}

fn substitution(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (regex, place) = arguments.text("a regex")?;
    let regex = regex.to_owned();
    let replacement: Arc<str> = arguments.text("a replacement")?.0.into();
    let (flags, span) = arguments.optional().unwrap_or(("", place));
    if let Some(flag) = flags.chars().find(|flag| !"gi".contains(*flag)) {
        let message = format!("'{flag}' is not a flag of 'regsub'");
        return Err(Diagnostic::alert(span, message).label("expected 'g' or 'i'"));
    }
    Ok(Converter::RegSub {
        regex: regexes::compile(&regex, flags.contains('i'), place)?,
        replacement,
        all: flags.contains('g'),
    })
}

fn url_encode(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    match arguments.optional() {
        None | Some(("" | "query", _)) => Ok(Converter::UrlEncode),
        Some((text, span)) => {
            let message = format!("'{text}' is not an encoding of 'url_enc'");
            Err(Diagnostic::alert(span, message).label("expected 'query'"))
        }
    }
}

fn bytes(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let offset = counted(arguments.text("an offset")?)?;
    let length = match arguments.optional() {
        None | Some(("", _)) => None,
        Some(argument) => Some(counted(argument)?),
    };
    if length == Some(IntOperand::Int(0)) {
        return Err(Diagnostic::alert(
            arguments.span(),
            "'bytes' of length 0 has no result",
        ));
    }
    Ok(Converter::Bytes(offset, length))
}

fn counted((text, span): (&str, Span)) -> Result<IntOperand, Diagnostic> {
    match IntOperand::read(text, span)? {
        IntOperand::Int(..0) => Err(Diagnostic::alert(span, "'bytes' counts from 0")),
        operand => Ok(operand),
    }
}

fn address_mask(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("an IPv4 mask")?;
    let ones = |length: u8| u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    let v4 = mask(text, 32, |length| Ipv4Addr::from_bits(ones(length))).ok_or_else(|| {
        Diagnostic::alert(span, format!("'{text}' is not an IPv4 mask"))
            .label("expected 0 to 32, or 255.255.255.0")
    })?;
    let Some((text, span)) = arguments.optional() else {
        return Ok(Converter::IpMask(v4, None));
    };
    let ones = |length: u8| u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    let v6 = mask(text, 128, |length| Ipv6Addr::from_bits(ones(length))).ok_or_else(|| {
        Diagnostic::alert(span, format!("'{text}' is not an IPv6 mask"))
            .label("expected 0 to 128, or ffff:ffff::")
    })?;
    Ok(Converter::IpMask(v4, Some(v6)))
}

/// A mask written as a number of ones, or as an address: any bits may be kept, not only the first ones.
fn mask<A: std::str::FromStr>(text: &str, length_max: u8, ones: impl Fn(u8) -> A) -> Option<A> {
    match text.parse::<u8>() {
        Ok(length) => (length <= length_max).then(|| ones(length)),
        Err(_) => text.parse().ok(),
    }
}

/// The length of a mask written as a number or as an address of ones and zeros.
pub(super) fn prefix<A>(text: &str, length_max: u8) -> Option<u8>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    if let Ok(length) = text.parse::<u8>() {
        return (length <= length_max).then_some(length);
    }
    let mask: A = text.parse().ok()?;
    ipnet::ip_mask_to_prefix(mask.into()).ok()
}

fn set_variable(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("the name of a variable")?;
    let name = VarName::parse(text, span)?;
    let mut conditions = Vec::new();
    while let Some((text, span)) = arguments.optional() {
        conditions.push((text.to_owned(), span));
    }
    let conditions = conditions.iter().map(|(text, span)| (text.as_str(), *span));
    Ok(Converter::SetVar(name, conditions_of_set(conditions)?))
}

fn unset_variable(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("the name of a variable")?;
    VarName::parse(text, span).map(Converter::UnsetVar)
}

fn arithmetic(operator: Operator, arguments: &mut Arguments) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("a number")?;
    Ok(Converter::Arithmetic(
        operator,
        IntOperand::read(text, span)?,
    ))
}
