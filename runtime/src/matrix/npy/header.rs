//! The header of a `.npy` file (NumPy enhancement proposal 1, versions 1 to 3): a magic string and the
//! text of a Python dictionary. Bounded, and without recursion: a file cannot exhaust the stack.

use std::io::{self, Read};

/// Longest header text that is read, the bound of NumPy's own reader.
const TEXT_BYTES_MAX: usize = 10_000;
const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy starts the data at a multiple of this.
const ALIGNMENT: usize = 64;

/// Which index runs fastest in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Row by row.
    C,
    /// Column by column.
    Fortran,
}

/// What an entry is in the file; each becomes an f64 as NumPy's `astype` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// Kind and width.
    pub kind: ElementKind,
    /// Whether the most significant byte comes first.
    pub big_endian: bool,
}

/// Kind and width of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "NumPy's names")]
pub enum ElementKind {
    Bool,
    I1,
    I2,
    I4,
    I8,
    U1,
    U2,
    U4,
    U8,
    F4,
    F8,
}

/// A header as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) element: Element,
    pub(super) order: Order,
    pub(super) shape: Vec<u64>,
    /// Where the entries begin.
    pub(super) data_offset: u64,
}

/// Why a header is refused, without the file's name.
#[derive(Debug)]
pub(super) enum HeaderError {
    /// Not a `.npy` file at all; what is there.
    NotNpy(String),
    /// A well-formed header of something else than real numbers; what it is.
    Type(String),
    Io(io::Error),
}

impl ElementKind {
    /// Bytes of an entry.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::I1 | Self::U1 => 1,
            Self::I2 | Self::U2 => 2,
            Self::I4 | Self::U4 | Self::F4 => 4,
            Self::I8 | Self::U8 | Self::F8 => 8,
        }
    }

    /// Whether an entry can be NaN or infinite.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F4 | Self::F8)
    }
}

impl Element {
    /// Converts `raw`, whole entries, into `out`.
    pub(in crate::matrix) fn decode(self, raw: &[u8], out: &mut [f64]) {
        macro_rules! each {
            ($t:ty) => {
                if self.big_endian {
                    convert::<{ size_of::<$t>() }>(raw, out, |b| <$t>::from_be_bytes(b) as f64)
                } else {
                    convert::<{ size_of::<$t>() }>(raw, out, |b| <$t>::from_le_bytes(b) as f64)
                }
            };
        }
        match self.kind {
            ElementKind::Bool => convert::<1>(raw, out, |b| f64::from(b[0] != 0)),
            ElementKind::I1 => each!(i8),
            ElementKind::I2 => each!(i16),
            ElementKind::I4 => each!(i32),
            ElementKind::I8 => each!(i64),
            ElementKind::U1 => each!(u8),
            ElementKind::U2 => each!(u16),
            ElementKind::U4 => each!(u32),
            ElementKind::U8 => each!(u64),
            ElementKind::F4 => each!(f32),
            ElementKind::F8 => each!(f64),
        }
    }

    /// Reads NumPy's type string, such as `<f8`.
    fn parse(descr: &str) -> Result<Self, HeaderError> {
        let malformed = || {
            HeaderError::NotNpy(format!(
                "a header with the type `{}`",
                descr.escape_default()
            ))
        };
        let mut chars = descr.chars();
        let big_endian = match chars.next().ok_or_else(malformed)? {
            '<' | '|' => false,
            '>' => true,
            '=' => cfg!(target_endian = "big"),
            _ => return Err(malformed()),
        };
        let code = chars.as_str();
        let kind = match code {
            "b1" => ElementKind::Bool,
            "i1" => ElementKind::I1,
            "i2" => ElementKind::I2,
            "i4" => ElementKind::I4,
            "i8" => ElementKind::I8,
            "u1" => ElementKind::U1,
            "u2" => ElementKind::U2,
            "u4" => ElementKind::U4,
            "u8" => ElementKind::U8,
            "f4" => ElementKind::F4,
            "f8" => ElementKind::F8,
            _ => {
                let mut digits = chars;
                let name = match digits.next().ok_or_else(malformed)? {
                    'c' => "complex numbers",
                    'f' => "floating-point numbers of another width",
                    'S' | 'a' => "byte strings",
                    'U' => "strings",
                    'O' => "Python objects",
                    'V' => "raw bytes",
                    'M' => "dates",
                    'm' => "time differences",
                    _ => return Err(malformed()),
                };
                return Err(HeaderError::Type(format!(
                    "{name} ({})",
                    descr.escape_default()
                )));
            }
        };
        Ok(Self { kind, big_endian })
    }
}

fn convert<const W: usize>(raw: &[u8], out: &mut [f64], value: impl Fn([u8; W]) -> f64) {
    let (entries, rest) = raw.as_chunks::<W>();
    assert!(
        rest.is_empty() && entries.len() == out.len(),
        "raw bytes must be whole entries"
    );
    for (out, raw) in out.iter_mut().zip(entries) {
        *out = value(*raw);
    }
}

impl Header {
    /// Reads a header from the start of a file.
    pub(super) fn read(file: &mut impl Read) -> Result<Self, HeaderError> {
        let mut start = [0; 8];
        let got = read_up_to(file, &mut start)?;
        if got == 0 {
            return Err(HeaderError::NotNpy("an empty file".into()));
        }
        if got < 8 || start[..6] != *MAGIC {
            return Err(HeaderError::NotNpy(describe_magic(&start[..got])));
        }
        let wide = match start[6] {
            1 => false,
            2 | 3 => true,
            version => {
                return Err(HeaderError::NotNpy(format!(
                    "format version {version}; 1 to 3 are known"
                )));
            }
        };
        let mut length = [0; 4];
        let length_bytes = if wide { 4 } else { 2 };
        let cut = || HeaderError::NotNpy("a file that ends inside its header".into());
        if read_up_to(file, &mut length[..length_bytes])? < length_bytes {
            return Err(cut());
        }
        let text_bytes = u32::from_le_bytes(length) as usize;
        if text_bytes > TEXT_BYTES_MAX {
            return Err(HeaderError::NotNpy(format!(
                "a header of {text_bytes} bytes; at most {TEXT_BYTES_MAX} are read"
            )));
        }
        let mut text = vec![0; text_bytes];
        if read_up_to(file, &mut text)? < text_bytes {
            return Err(cut());
        }
        let text = String::from_utf8_lossy(&text);
        parse_dictionary(&text, (8 + length_bytes + text_bytes) as u64)
    }

    /// Bytes of the header of a little-endian array, up to the first entry. A matrix is Fortran-ordered; one of a
    /// single dimension has no order, which NumPy writes as C's.
    pub(super) fn encode(descr: &str, shape: &[u64]) -> Vec<u8> {
        let (order, sizes) = match shape {
            [length] => ("False", format!("{length},")),
            _ => (
                "True",
                shape
                    .iter()
                    .map(u64::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
        };
        let mut text =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({sizes}), }}");
        let whole = (10 + text.len() + 1).next_multiple_of(ALIGNMENT);
        text.extend(std::iter::repeat_n(' ', whole - 10 - text.len() - 1));
        text.push('\n');
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }
}

/// Reads the three entries of the dictionary, in any order.
fn parse_dictionary(text: &str, data_offset: u64) -> Result<Header, HeaderError> {
    let mut cursor = Cursor { rest: text };
    let (mut descr, mut order, mut shape) = (None, None, None);
    cursor.expect('{')?;
    while !cursor.take('}') {
        let key = cursor.string()?;
        cursor.expect(':')?;
        match key {
            "descr" => descr = Some(cursor.descr()?),
            "fortran_order" => order = Some(cursor.boolean()?),
            "shape" => shape = Some(cursor.shape()?),
            _ => return Err(cursor.malformed()),
        }
        if !cursor.take(',') {
            cursor.expect('}')?;
            break;
        }
    }
    if !cursor.rest.trim().is_empty() {
        return Err(cursor.malformed());
    }
    let missing = |key: &str| HeaderError::NotNpy(format!("a header without `{key}`"));
    let element = Element::parse(descr.ok_or_else(|| missing("descr"))?)?;
    let fortran = order.ok_or_else(|| missing("fortran_order"))?;
    let shape = shape.ok_or_else(|| missing("shape"))?;
    let order = if fortran { Order::Fortran } else { Order::C };
    Ok(Header {
        element,
        order,
        shape,
        data_offset,
    })
}

/// What of the header's text is still to be read.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn malformed(&self) -> HeaderError {
        let near: String = self.rest.chars().take(20).collect();
        HeaderError::NotNpy(format!(
            "a malformed header near `{}`",
            near.trim_end().replace(char::is_control, " ")
        ))
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.rest.trim_start();
        self.rest = rest.strip_prefix(c).unwrap_or(rest);
        self.rest.len() < rest.len()
    }

    fn expect(&mut self, c: char) -> Result<(), HeaderError> {
        if self.take(c) {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        self.rest = rest.strip_prefix(word).unwrap_or(rest);
        self.rest.len() < rest.len()
    }

    /// A string without escapes: none of the keys or type strings has one.
    fn string(&mut self) -> Result<&'a str, HeaderError> {
        let quote = if self.take('\'') {
            '\''
        } else if self.take('"') {
            '"'
        } else {
            return Err(self.malformed());
        };
        let (text, rest) = self
            .rest
            .split_once(quote)
            .ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(text)
    }

    fn descr(&mut self) -> Result<&'a str, HeaderError> {
        if self.rest.trim_start().starts_with('[') {
            return Err(HeaderError::Type("a structured type".into()));
        }
        self.string()
    }

    fn boolean(&mut self) -> Result<bool, HeaderError> {
        if self.word("True") {
            Ok(true)
        } else if self.word("False") {
            Ok(false)
        } else {
            Err(self.malformed())
        }
    }

    /// A tuple of sizes; Python 2 wrote `3L`.
    fn shape(&mut self) -> Result<Vec<u64>, HeaderError> {
        let mut shape = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            let rest = self.rest.trim_start();
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let size = rest[..digits].parse().map_err(|_| self.malformed())?;
            self.rest = &rest[digits..];
            self.take('L');
            shape.push(size);
            if !self.take(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }
}

/// Fills as much of `buffer` as the file has.
fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> Result<usize, HeaderError> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(HeaderError::Io(error)),
        }
    }
    Ok(got)
}

fn describe_magic(start: &[u8]) -> String {
    match start {
        [b'P', b'K', 3 | 5, ..] => "a zip archive (.npz?); save one array with numpy.save".into(),
        [0x80, 2..=5, ..] => "a Python pickle; save the array with numpy.save".into(),
        [0x89, b'H', b'D', b'F', ..] => "an HDF5 file".into(),
        _ => format!("other data, starting with `{}`", start.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> String {
        match Header::read(&mut &bytes[..]) {
            Ok(h) => format!(
                "{:?} {} {:?} {:?}",
                h.element.kind, h.element.big_endian, h.order, h.shape
            ),
            Err(HeaderError::NotNpy(found)) => format!("not npy: {found}"),
            Err(HeaderError::Type(found)) => format!("type: {found}"),
            Err(HeaderError::Io(error)) => format!("io: {error}"),
        }
    }

    #[test]
    fn reads_what_numpy_writes() {
        let table = [
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }\n",
                "F8 false C [3, 4]",
            ),
            (
                "{'descr': '>i2', 'fortran_order': True, 'shape': (3,), }   \n",
                "I2 true Fortran [3]",
            ),
            (
                "{\"shape\": (), \"descr\": \"|b1\", \"fortran_order\": False}",
                "Bool false C []",
            ),
            (
                "{'descr': '<u4', 'fortran_order': False, 'shape': (3L, 4L), }",
                "U4 false C [3, 4]",
            ),
            (
                "{'descr': '<c16', 'fortran_order': False, 'shape': (3, 4), }",
                "type: complex numbers (<c16)",
            ),
            (
                "{'descr': '<U5', 'fortran_order': False, 'shape': (3, 4), }",
                "type: strings (<U5)",
            ),
            (
                "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4), }",
                "type: Python objects (|O)",
            ),
            (
                "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), }",
                "type: floating-point numbers of another width (<f2)",
            ),
            (
                "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3,), }",
                "type: a structured type",
            ),
            (
                "{'descr': '<f8', 'shape': (3, 4), }",
                "not npy: a header without `fortran_order`",
            ),
            (
                "{'descr': '<f8', 'fortran_order': 1, 'shape': (3, 4), }",
                "not npy: a malformed header near `1, 'shape': (3, 4),`",
            ),
            (
                "{'descr': '<f8', 'fortran_order': True, 'shape': (-3, 4), }",
                "not npy: a malformed header near `-3, 4), }`",
            ),
            (
                "{'descr': '<f8', 'fortran_order': True, 'shape': (99999999999999999999, 4), }",
                "not npy: a malformed header near `99999999999999999999`",
            ),
            (
                "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 4)",
                "not npy: a malformed header near ``",
            ),
            (
                "((((((((((((((((((((",
                "not npy: a malformed header near `((((((((((((((((((((`",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(read(&file(text)), expected, "{text}");
        }
    }

    #[test]
    fn names_what_is_not_npy() {
        let table: [(&[u8], &str); 7] = [
            (b"", "not npy: an empty file"),
            (
                b"1,2\n3,4\n",
                "not npy: other data, starting with `1,2\\n3,4\\n`",
            ),
            (
                b"PK\x03\x04\x14\x00\x00\x00",
                "not npy: a zip archive (.npz?); save one array with numpy.save",
            ),
            (b"\x93NUM", "not npy: other data, starting with `\\x93NUM`"),
            (
                b"\x93NUMPY\x09\x00\x10\x00",
                "not npy: format version 9; 1 to 3 are known",
            ),
            (
                b"\x93NUMPY\x01\x00\x40\x00{",
                "not npy: a file that ends inside its header",
            ),
            (
                b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
                "not npy: a header of 4294967295 bytes; at most 10000 are read",
            ),
        ];
        for (bytes, expected) in table {
            assert_eq!(read(bytes), expected);
        }
    }

    #[test]
    fn reads_back_its_own() {
        let table: [(&str, &[u64], _, _); 4] = [
            ("<f8", &[1, 1], Order::Fortran, ElementKind::F8),
            ("<f8", &[12345, 678], Order::Fortran, ElementKind::F8),
            ("<i8", &[u64::MAX >> 20, 1], Order::Fortran, ElementKind::I8),
            ("<i8", &[12345], Order::C, ElementKind::I8),
        ];
        for (descr, shape, order, kind) in table {
            let bytes = Header::encode(descr, shape);
            assert_eq!(bytes.len() % ALIGNMENT, 0);
            let header = Header::read(&mut &bytes[..]).unwrap();
            assert_eq!(header.shape, shape);
            assert_eq!(header.data_offset as usize, bytes.len());
            assert_eq!((header.order, header.element.kind), (order, kind));
        }
    }
}
