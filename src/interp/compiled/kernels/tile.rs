//! Slices of any element type.

use crate::array::{Data, Stored};
use half::{bf16, f16};
use num_complex::Complex;

macro_rules! slices {
    ($($T:ty = $V:ident;)*) => {
        /// Elements that may be written.
        pub(in crate::interp::compiled) enum SliceMut<'a> {
            $($V(&'a mut [$T]),)*
        }

        /// An element type of which there are slices.
        pub(in crate::interp::compiled) trait Lanes: Stored {
            /// The slice, where it is of this type.
            fn slice_mut(s: SliceMut<'_>) -> Option<&mut [Self]>;
        }
        $(impl Lanes for $T {
            fn slice_mut(s: SliceMut<'_>) -> Option<&mut [Self]> {
                if let SliceMut::$V(v) = s { Some(v) } else { None }
            }
        })*

        impl<'a> SliceMut<'a> {
            /// All elements of a storage.
            pub(in crate::interp::compiled) fn of(data: &'a mut Data) -> SliceMut<'a> {
                match data { $(Data::$V(v) => SliceMut::$V(v),)* }
            }

            /// In two, at an index that is cut to the length.
            pub(in crate::interp::compiled) fn split(self, at: usize) -> (SliceMut<'a>, SliceMut<'a>) {
                match self {
                    $(SliceMut::$V(v) => {
                        let (a, b) = v.split_at_mut(at.min(v.len()));
                        (SliceMut::$V(a), SliceMut::$V(b))
                    })*
                }
            }

            /// A part, for a while. `None` outside of the slice.
            pub(in crate::interp::compiled) fn part(&mut self, from: usize, n: usize) -> Option<SliceMut<'_>> {
                match self { $(SliceMut::$V(v) => v.get_mut(from..from.checked_add(n)?).map(SliceMut::$V),)* }
            }
        }

        /// A part that is only read.
        pub(in crate::interp::compiled) trait Part: Lanes {
            /// Elements `from..from + n` of a slice of any type.
            fn part<'b>(s: &'b SliceMut<'_>, from: usize, n: usize) -> Option<&'b [Self]>;
        }
        $(impl Part for $T {
            fn part<'b>(s: &'b SliceMut<'_>, from: usize, n: usize) -> Option<&'b [Self]> {
                if let SliceMut::$V(v) = s { v.get(from..from.checked_add(n)?) } else { None }
            }
        })*
    };
}
slices! {
    bool = Bool; i8 = I8; i16 = I16; i32 = I32; i64 = I64; u8 = U8; u16 = U16; u32 = U32; u64 = U64;
    f16 = F16; bf16 = BF16; f32 = F32; f64 = F64; Complex<f32> = C64; Complex<f64> = C128;
}
