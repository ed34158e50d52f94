//! Fetches over whole heads, and hashes of what is asked for (manual 7.3.6).

use super::Build::{Plain, With};
use super::{Row, row};
use crate::expr::Kind::{Bin, Int, Str};
use crate::expr::Needs::{RequestHead, ResponseHead};
use crate::expr::{Fetch, HeadFetch, Side};

const fn plain(fetch: HeadFetch) -> super::Build {
    Plain(Fetch::Head(fetch))
}

#[rustfmt::skip] // a table reads best as one line a row
pub(super) static ROWS: &[Row] = &[
    row(&["base32"], Int, RequestHead, plain(HeadFetch::BaseHash { with_source: false })),
    row(&["base32+src"], Bin, RequestHead, plain(HeadFetch::BaseHash { with_source: true })),
    row(&["url32"], Int, RequestHead, plain(HeadFetch::UrlHash { with_source: false })),
    row(&["url32+src"], Bin, RequestHead, plain(HeadFetch::UrlHash { with_source: true })),
    row(&["req.hdrs"], Str, RequestHead, plain(HeadFetch::Lines(Side::Request))),
    row(&["res.hdrs"], Str, ResponseHead, plain(HeadFetch::Lines(Side::Response))),
    row(&["req.hdrs_bin"], Bin, RequestHead, plain(HeadFetch::Binary(Side::Request))),
    row(&["res.hdrs_bin"], Bin, ResponseHead, plain(HeadFetch::Binary(Side::Response))),
    row(&["req.body"], Bin, RequestHead, plain(HeadFetch::Body(Side::Request))),
    row(&["req.body_len"], Int, RequestHead, plain(HeadFetch::BodyLen(Side::Request))),
    row(&["req.body_size"], Int, RequestHead, plain(HeadFetch::BodySize(Side::Request))),
    row(&["req.body_param"], Str, RequestHead, With(|it, _| {
        Ok(Fetch::Head(HeadFetch::BodyParam(super::body_parameter(it)?)))
    })),
    row(&["res.body"], Bin, ResponseHead, plain(HeadFetch::Body(Side::Response))),
    row(&["res.body_len"], Int, ResponseHead, plain(HeadFetch::BodyLen(Side::Response))),
    row(&["res.body_size"], Int, ResponseHead, plain(HeadFetch::BodySize(Side::Response))),
    row(&["req.cook_names"], Str, RequestHead, With(|it, _| {
        Ok(Fetch::Head(HeadFetch::CookieNames(Side::Request, super::delimiter(it))))
    })),
    row(&["res.cook_names"], Str, ResponseHead, With(|it, _| {
        Ok(Fetch::Head(HeadFetch::CookieNames(Side::Response, super::delimiter(it))))
    })),
];
