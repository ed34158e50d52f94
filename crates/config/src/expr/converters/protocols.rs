//! Messages of other protocols: MQTT, FIX, protocol buffers (manual 7.3.1).

use crate::diagnostics::Diagnostic;
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Converter};

use super::Build::{Plain, With};
use super::{Row, row};
use crate::expr::Kind::{Any, Bin, Bool};

/// What is read from a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `mqtt_is_valid`.
    MqttIsValid,
    /// `mqtt_field_value(type,field)`.
    Mqtt(MqttPacket, MqttField),
    /// `fix_is_valid`.
    FixIsValid,
    /// `fix_tag_value(tag)`: its number.
    Fix(u32),
    /// `protobuf(field[,type])`; behind `ungrpc` a header comes first.
    Protobuf(Protobuf),
}

/// The packets that can be looked into: the first of either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttPacket {
    /// Of the client.
    Connect,
    /// Of the server.
    Connack,
}

/// What is read of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named in the manual, mqtt_field_value")]
pub enum MqttField {
    Flags,
    ProtocolName,
    ProtocolVersion,
    ClientIdentifier,
    WillTopic,
    WillPayload,
    Username,
    Password,
    Keepalive,
    ReasonCode,
    /// One of version 5, by its number.
    Property(u8),
}

/// A field of a message of protocol buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protobuf {
    /// Whether a gRPC header stands before it.
    pub grpc: bool,
    /// Numbers of fields, from the outermost inwards.
    pub path: Vec<u64>,
    /// How its bytes are read; `None`: as they are.
    pub kind: Option<ProtobufKind>,
}

/// How a field is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is called as protocol buffers call it")]
pub enum ProtobufKind {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Bool,
    Enum,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
}

pub(super) static ROWS: &[Row] = &[
    row(
        "mqtt_is_valid",
        Bin,
        Bool,
        Plain(Converter::Message(Message::MqttIsValid)),
    ),
    row("mqtt_field_value", Bin, Bin, With(mqtt)),
    row(
        "fix_is_valid",
        Bin,
        Bool,
        Plain(Converter::Message(Message::FixIsValid)),
    ),
    row("fix_tag_value", Bin, Bin, With(fix)),
    row("protobuf", Bin, Any, With(|it, _| protobuf(it, false))),
    row("ungrpc", Bin, Any, With(|it, _| protobuf(it, true))),
];

/// Properties of version 5 that a CONNECT packet (or its will) and a CONNACK packet may have, but
/// for 38, of which there may be many.
const CONNECT_PROPERTIES: [u8; 14] = [17, 33, 39, 34, 25, 23, 21, 22, 24, 1, 2, 3, 8, 9];
const CONNACK_PROPERTIES: [u8; 16] = [
    17, 33, 36, 37, 39, 18, 34, 31, 40, 41, 42, 19, 26, 28, 21, 22,
];

fn mqtt(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("a packet type")?;
    let packet = match text.to_ascii_lowercase().as_str() {
        "connect" | "1" => MqttPacket::Connect,
        "connack" | "2" => MqttPacket::Connack,
        _ => {
            return Err(Diagnostic::alert(
                span,
                format!("packets of type '{text}' cannot be looked into"),
            )
            .label("expected 'connect' or 'connack', the first packets of either side"));
        }
    };
    let (text, span) = arguments.text("a field")?;
    let connect = packet == MqttPacket::Connect;
    let properties: &[u8] = match packet {
        MqttPacket::Connect => &CONNECT_PROPERTIES,
        MqttPacket::Connack => &CONNACK_PROPERTIES,
    };
    let field = match text.to_ascii_lowercase().as_str() {
        "flags" => Some(MqttField::Flags),
        "protocol_version" => Some(MqttField::ProtocolVersion),
        "protocol_name" if connect => Some(MqttField::ProtocolName),
        "client_identifier" if connect => Some(MqttField::ClientIdentifier),
        "will_topic" if connect => Some(MqttField::WillTopic),
        "will_payload" if connect => Some(MqttField::WillPayload),
        "username" if connect => Some(MqttField::Username),
        "password" if connect => Some(MqttField::Password),
        "keepalive" if connect => Some(MqttField::Keepalive),
        "reason_code" if !connect => Some(MqttField::ReasonCode),
        number => {
            let id = number.parse().ok().filter(|id| properties.contains(id));
            id.map(MqttField::Property)
        }
    };
    let field = field.ok_or_else(|| {
        Diagnostic::alert(span, format!("'{text}' is no field of such a packet"))
            .label("expected a name such as 'flags', or the number of a property")
    })?;
    Ok(Converter::Message(Message::Mqtt(packet, field)))
}

/// Tags that have a name here, too.
const FIX_TAGS: [(&str, u32); 6] = [
    ("BeginString", 8),
    ("BodyLength", 9),
    ("MsgType", 35),
    ("SenderCompID", 49),
    ("TargetCompID", 56),
    ("CheckSum", 10),
];

fn fix(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("a tag")?;
    let named = FIX_TAGS.iter().find(|(name, _)| *name == text);
    let tag = match named {
        Some((_, tag)) => Some(*tag),
        None => text.parse().ok().filter(|tag| *tag > 0),
    };
    let tag = tag.ok_or_else(|| {
        let names = FIX_TAGS.map(|(name, _)| name);
        Diagnostic::alert(span, format!("'{text}' is no tag of FIX")).label(format!(
            "expected its number, or one of {}",
            names.join(", ")
        ))
    })?;
    Ok(Converter::Message(Message::Fix(tag)))
}

const PROTOBUF_KINDS: [(&str, ProtobufKind); 14] = [
    ("int32", ProtobufKind::Int32),
    ("int64", ProtobufKind::Int64),
    ("uint32", ProtobufKind::Uint32),
    ("uint64", ProtobufKind::Uint64),
    ("sint32", ProtobufKind::Sint32),
    ("sint64", ProtobufKind::Sint64),
    ("bool", ProtobufKind::Bool),
    ("enum", ProtobufKind::Enum),
    ("fixed32", ProtobufKind::Fixed32),
    ("fixed64", ProtobufKind::Fixed64),
    ("sfixed32", ProtobufKind::Sfixed32),
    ("sfixed64", ProtobufKind::Sfixed64),
    ("float", ProtobufKind::Float),
    ("double", ProtobufKind::Double),
];

fn protobuf(arguments: &mut Arguments, grpc: bool) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("the number of a field")?;
    let path: Result<Vec<u64>, _> = text.split('.').map(str::parse).collect();
    let path = path.ok().filter(|path| !path.contains(&0)).ok_or_else(|| {
        Diagnostic::alert(span, format!("'{text}' is no field of a message"))
            .label("expected numbers with dots between them, such as '48.59.1'")
    })?;
    let kind = match arguments.optional() {
        None | Some(("", _)) => None,
        Some((text, span)) => {
            let known = PROTOBUF_KINDS.iter().find(|(name, _)| *name == text);
            let known = known.ok_or_else(|| {
                let names = PROTOBUF_KINDS.map(|(name, _)| name);
                Diagnostic::alert(span, format!("'{text}' is no type of a field"))
                    .label(format!("expected one of {}", names.join(", ")))
            })?;
            Some(known.1)
        }
    };
    Ok(Converter::Message(Message::Protobuf(Protobuf {
        grpc,
        path,
        kind,
    })))
}
