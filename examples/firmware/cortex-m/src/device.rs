//! The registers of a device.

/// How many bytes of the address space a device of a Cortex-M usually has.
const SIZE: usize = 0x1000;

/// A device with registers of 32 bits, by their offsets.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    base: usize,
}

impl Device {
    /// The device at an address.
    ///
    /// # Safety
    ///
    /// The 4 KiB from `base` on are a device's alone, and nothing that is done with its registers touches memory
    /// that a program uses: no DMA, say.
    pub const unsafe fn at(base: usize) -> Self {
        assert!(base.is_multiple_of(4), "registers are aligned");
        Self { base }
    }

    /// What the register at `offset` says.
    #[inline(always)]
    pub fn read(self, offset: usize) -> u32 {
        // SAFETY: it's a register of the device, and by `at`'s contract reading it touches no memory.
        unsafe { self.register(offset).read_volatile() }
    }

    /// Writes to the register at `offset`.
    #[inline(always)]
    pub fn write(self, offset: usize, value: u32) {
        // SAFETY: it's a register of the device, and by `at`'s contract writing it touches no memory.
        unsafe { self.register(offset).write_volatile(value) }
    }

    #[inline(always)]
    fn register(self, offset: usize) -> *mut u32 {
        assert!(offset < SIZE && offset.is_multiple_of(4), "no register of this device");
        (self.base + offset) as *mut u32
    }
}
