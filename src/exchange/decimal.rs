//! Numbers and addresses as text, without memory of their own.

/// A number in decimal digits.
pub struct Decimal {
    digits: [u8; 20],
    from: usize,
}

impl Decimal {
    /// The digits of a number, without leading zeros.
    pub fn of(mut number: u64) -> Self {
        let mut decimal = Decimal { digits: [0; 20], from: 20 };
        loop {
            decimal.from -= 1;
            decimal.digits[decimal.from] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return decimal;
            }
        }
    }
}

impl AsRef<[u8]> for Decimal {
    fn as_ref(&self) -> &[u8] {
        &self.digits[self.from..]
    }
}

/// Writes an IPv4 address, and returns its length: 15 bytes at most.
///
/// # Panics
///
/// When the buffer is too short.
pub fn dotted(address: [u8; 4], buffer: &mut [u8]) -> usize {
    let mut len = 0;
    let mut put = |byte| {
        buffer[len] = byte;
        len += 1;
    };
    for (index, part) in address.into_iter().enumerate() {
        if index > 0 {
            put(b'.');
        }
        if part >= 100 {
            put(b'0' + part / 100);
        }
        if part >= 10 {
            put(b'0' + part / 10 % 10);
        }
        put(b'0' + part % 10);
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_digits() {
        for number in [0, 7, 10, 8080, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(Decimal::of(number).as_ref(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn addresses_are_dotted() {
        for text in ["0.0.0.0", "127.0.0.1", "255.100.10.9", "255.255.255.255"] {
            let address: std::net::Ipv4Addr = text.parse().unwrap();
            let mut buffer = [0; 15];
            let len = dotted(address.octets(), &mut buffer);
            assert_eq!(&buffer[..len], text.as_bytes());
        }
    }
}
