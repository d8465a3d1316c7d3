//! The distinguished encoding of ASN.1, as far as X.509 uses it.

use holdfast_types::Timestamp;

use super::{Oid, X509Error};

/// Tags of universal types, and how a context tag is made.
pub mod tag {
    /// BOOLEAN
    pub const BOOLEAN: u8 = 0x01;
    /// INTEGER
    pub const INTEGER: u8 = 0x02;
    /// BIT STRING
    pub const BIT_STRING: u8 = 0x03;
    /// OCTET STRING
    pub const OCTET_STRING: u8 = 0x04;
    /// NULL
    pub const NULL: u8 = 0x05;
    /// OBJECT IDENTIFIER
    pub const OID: u8 = 0x06;
    /// ENUMERATED
    pub const ENUMERATED: u8 = 0x0a;
    /// `UTF8String`
    pub const UTF8_STRING: u8 = 0x0c;
    /// `PrintableString`
    pub const PRINTABLE_STRING: u8 = 0x13;
    /// `IA5String`
    pub const IA5_STRING: u8 = 0x16;
    /// `UTCTime`
    pub const UTC_TIME: u8 = 0x17;
    /// `GeneralizedTime`
    pub const GENERALIZED_TIME: u8 = 0x18;
    /// SEQUENCE
    pub const SEQUENCE: u8 = 0x30;
    /// SET
    pub const SET: u8 = 0x31;

    /// `[number]` with contents of its own, such as an explicit tag.
    pub const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }

    /// `[number]` in place of a primitive type's tag.
    pub const fn primitive(number: u8) -> u8 {
        0x80 | number
    }
}

/// Writes DER.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// What `write` writes, alone.
    pub fn build(write: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut writer = Self::default();
        write(&mut writer);
        writer.0
    }

    /// A SEQUENCE of what `write` writes, alone.
    pub fn build_sequence(write: impl FnOnce(&mut Self)) -> Vec<u8> {
        Self::build(|der| der.nested(tag::SEQUENCE, write))
    }

    /// Bytes that are DER already.
    pub fn raw(&mut self, der: &[u8]) {
        self.0.extend_from_slice(der);
    }

    /// A value with its tag and length.
    pub fn value(&mut self, tag: u8, contents: &[u8]) {
        self.0.push(tag);
        let length = contents.len();
        if length < 0x80 {
            self.0.push(length as u8);
        } else {
            let bytes = length.to_be_bytes();
            let skip = bytes.iter().take_while(|byte| **byte == 0).count();
            self.0.push(0x80 | (bytes.len() - skip) as u8);
            self.0.extend_from_slice(&bytes[skip..]);
        }
        self.0.extend_from_slice(contents);
    }

    /// A value whose contents `write` writes.
    pub fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Self)) {
        let contents = Self::build(write);
        self.value(tag, &contents);
    }

    /// A SEQUENCE.
    pub fn sequence(&mut self, write: impl FnOnce(&mut Self)) {
        self.nested(tag::SEQUENCE, write);
    }

    /// A SET OF, whose elements DER wants sorted by their encoding.
    pub fn set_of(&mut self, mut elements: Vec<Vec<u8>>) {
        elements.sort();
        self.value(tag::SET, &elements.concat());
    }

    /// An INTEGER from its magnitude, most significant byte first.
    pub fn integer(&mut self, magnitude: &[u8]) {
        let skip = magnitude.iter().take_while(|byte| **byte == 0).count();
        let mut contents = magnitude[skip..].to_vec();
        if contents.first().is_none_or(|byte| byte & 0x80 != 0) {
            contents.insert(0, 0);
        }
        self.value(tag::INTEGER, &contents);
    }

    /// A small INTEGER.
    pub fn number(&mut self, number: u64) {
        self.integer(&number.to_be_bytes());
    }

    /// A BOOLEAN.
    pub fn boolean(&mut self, value: bool) {
        self.value(tag::BOOLEAN, &[if value { 0xff } else { 0 }]);
    }

    /// NULL.
    pub fn null(&mut self) {
        self.value(tag::NULL, &[]);
    }

    /// An OBJECT IDENTIFIER.
    pub fn oid(&mut self, oid: &Oid) {
        self.value(tag::OID, oid.as_bytes());
    }

    /// A BIT STRING of whole bytes.
    pub fn bit_string(&mut self, bytes: &[u8]) {
        let mut contents = vec![0];
        contents.extend_from_slice(bytes);
        self.value(tag::BIT_STRING, &contents);
    }

    /// An OCTET STRING.
    pub fn octet_string(&mut self, bytes: &[u8]) {
        self.value(tag::OCTET_STRING, bytes);
    }

    /// Text of a name: a `PrintableString` where its letters allow it, a `UTF8String` otherwise.
    pub fn directory_string(&mut self, text: &str) {
        let is_printable =
            |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
        let tag =
            if text.bytes().all(is_printable) { tag::PRINTABLE_STRING } else { tag::UTF8_STRING };
        self.value(tag, text.as_bytes());
    }

    /// A time as X.509 wants it: `UTCTime` through 2049, `GeneralizedTime` after.
    pub fn time(&mut self, time: Timestamp) {
        /// 1950-01-01 and 2050-01-01, in seconds since 1970.
        const TWO_DIGITS: std::ops::Range<i64> = -631_152_000..2_524_608_000;

        if TWO_DIGITS.contains(&time.as_second()) {
            let text = time.strftime("%y%m%d%H%M%SZ").to_string();
            self.value(tag::UTC_TIME, text.as_bytes());
        } else {
            self.generalized_time(time);
        }
    }

    /// A `GeneralizedTime`, as OCSP wants it. The last timestamp there is stands for the end of the
    /// year 9999, a day later, with which certificates say that they have no end.
    pub fn generalized_time(&mut self, time: Timestamp) {
        let text = if time == Timestamp::MAX {
            "99991231235959Z".to_owned()
        } else {
            time.strftime("%Y%m%d%H%M%SZ").to_string()
        };
        self.value(tag::GENERALIZED_TIME, text.as_bytes());
    }
}

/// Reads DER from front to back.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag that comes next.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value: its tag, its contents, and all of it.
    ///
    /// # Errors
    /// The bytes end too early, or the tag or the length are not in their shortest form.
    pub fn any(&mut self) -> Result<(u8, &'a [u8], &'a [u8]), X509Error> {
        let whole = self.0;
        let (&tag, rest) = whole.split_first().ok_or_else(truncated)?;
        let (&first, rest) = rest.split_first().ok_or_else(truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(X509Error::malformed("a tag of several bytes"));
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                let (bytes, rest) = rest.split_at_checked(count).ok_or_else(truncated)?;
                let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                if bytes.first() == Some(&0) || length < 0x80 {
                    return Err(X509Error::malformed("a length that is not in its shortest form"));
                }
                (length, rest)
            }
            _ => return Err(X509Error::malformed("a length without bounds")),
        };
        let (contents, rest) = rest.split_at_checked(length).ok_or_else(truncated)?;
        self.0 = rest;
        Ok((tag, contents, &whole[..whole.len() - rest.len()]))
    }

    /// The contents of the next value, which must have this tag.
    ///
    /// # Errors
    /// As for [`Reader::any`], or another tag.
    pub fn value(&mut self, tag: u8) -> Result<&'a [u8], X509Error> {
        let (found, contents, _) = self.any()?;
        if found != tag {
            return Err(X509Error::malformed(format!("tag {found:#04x} in place of {tag:#04x}")));
        }
        Ok(contents)
    }

    /// What is inside the next value, which must have this tag.
    ///
    /// # Errors
    /// As for [`Reader::value`].
    pub fn inside(&mut self, tag: u8) -> Result<Reader<'a>, X509Error> {
        self.value(tag).map(Reader)
    }

    /// What is inside the next value if it has this tag; otherwise nothing is read.
    ///
    /// # Errors
    /// As for [`Reader::any`].
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, X509Error> {
        if self.peek() == Some(tag) { self.value(tag).map(Some) } else { Ok(None) }
    }

    /// The next value, an INTEGER that is not negative, without leading zeros.
    ///
    /// # Errors
    /// As for [`Reader::value`], or the number is negative.
    pub fn integer(&mut self) -> Result<&'a [u8], X509Error> {
        let bytes = self.value(tag::INTEGER)?;
        match bytes {
            [] => Err(truncated()),
            [first, ..] if first & 0x80 != 0 => Err(X509Error::malformed("a negative number")),
            [0, rest @ ..] if !rest.is_empty() => Ok(rest),
            _ => Ok(bytes),
        }
    }

    /// The next value, an OBJECT IDENTIFIER.
    ///
    /// # Errors
    /// As for [`Reader::value`].
    pub fn oid(&mut self) -> Result<Oid, X509Error> {
        Oid::from_der(self.value(tag::OID)?)
    }
}

fn truncated() -> X509Error {
    X509Error::malformed("the bytes end too early")
}
