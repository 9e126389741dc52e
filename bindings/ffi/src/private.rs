//! What names a peer, a channel or a wallet says nothing of it in `Debug` (safety rule 13).

/// `Debug` that says of which type it is, and nothing more.
macro_rules! says_nothing {
    ($($type:ident),+) => {$(
        impl ::std::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    )+};
}

/// `Debug` that says which value of an enum it is, and nothing of what is in it.
macro_rules! says_its_kind {
    ($type:ident: $($kind:ident),+) => {
        impl ::std::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(match self {
                    $(Self::$kind { .. } => stringify!($kind)),+
                })
            }
        }
    };
}

pub(crate) use says_its_kind;
pub(crate) use says_nothing;
