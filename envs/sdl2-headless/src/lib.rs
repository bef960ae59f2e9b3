//! The parts of `sdl2` that gym-rs names, without a window: [`init`] says that there is none.
//!
//! gym-rs depends on sdl2 to draw, which needs a C library and a display; its games need neither. Everything that only
//! an initialised SDL could give is an empty type here, so none of the drawing can ever run, and the compiler knows.

#![allow(missing_docs)]

/// Error type of a window's methods in sdl2.
type Result<T> = std::result::Result<T, String>;

/// Always fails: this stand-in has no windows.
pub fn init() -> Result<Sdl> {
    Err("gym-rs cannot draw in this build (headless stand-in for sdl2); use RenderMode::None".to_owned())
}

/// Declares types without values; a method on one is never called.
macro_rules! never {
    ($($name:ident),*) => { $(#[derive(Debug)] pub enum $name {})* };
}

never!(Sdl, VideoSubsystem, EventPump);

impl Sdl {
    pub fn video(&self) -> Result<VideoSubsystem> {
        match *self {}
    }

    pub fn event_pump(&self) -> Result<EventPump> {
        match *self {}
    }
}

impl VideoSubsystem {
    pub fn window(&self, _title: &str, _width: u32, _height: u32) -> video::WindowBuilder {
        match *self {}
    }
}

impl EventPump {
    pub fn poll_iter(&mut self) -> std::iter::Empty<event::Event> {
        match *self {}
    }
}

pub mod event {
    #[derive(Debug)]
    pub enum Event {
        Quit { timestamp: u32 },
        Unknown { timestamp: u32 },
    }
}

pub mod video {
    use super::Result;

    never!(WindowBuilder, Window);

    impl WindowBuilder {
        pub fn position_centered(&mut self) -> &mut Self {
            match *self {}
        }

        pub fn hidden(&mut self) -> &mut Self {
            match *self {}
        }

        pub fn build(&self) -> Result<Window> {
            match *self {}
        }
    }

    impl Window {
        pub fn into_canvas(self) -> super::render::CanvasBuilder {
            match self {}
        }
    }
}

pub mod render {
    use super::Result;
    use super::pixels::{Color, PixelFormatEnum};
    use super::rect::{Point, Rect};

    never!(CanvasBuilder, WindowCanvas, TextureCreator, Texture);

    impl CanvasBuilder {
        pub fn accelerated(self) -> Self {
            match self {}
        }

        pub fn build(self) -> Result<WindowCanvas> {
            match self {}
        }
    }

    impl TextureCreator {
        pub fn create_texture_target(&self, _format: PixelFormatEnum, _width: u32, _height: u32) -> Result<Texture> {
            match *self {}
        }
    }

    impl WindowCanvas {
        pub fn texture_creator(&self) -> TextureCreator {
            match *self {}
        }

        pub fn with_texture_canvas(&mut self, _texture: &mut Texture, _draw: impl FnMut(&mut Self)) -> Result<()> {
            match *self {}
        }

        #[allow(clippy::too_many_arguments)]
        pub fn copy_ex(
            &mut self,
            _texture: &Texture,
            _from: Option<Rect>,
            _to: Option<Rect>,
            _angle: f64,
            _centre: Option<Point>,
            _flip_horizontal: bool,
            _flip_vertical: bool,
        ) -> Result<()> {
            match *self {}
        }

        pub fn read_pixels(&self, _part: Option<Rect>, _format: PixelFormatEnum) -> Result<Vec<u8>> {
            match *self {}
        }

        pub fn set_draw_color(&mut self, _colour: Color) {
            match *self {}
        }

        pub fn draw_lines(&mut self, _points: &[Point]) -> Result<()> {
            match *self {}
        }

        pub fn clear(&mut self) {
            match *self {}
        }

        pub fn present(&mut self) {
            match *self {}
        }
    }
}

pub mod pixels {
    #[derive(Clone, Copy, Debug)]
    pub enum PixelFormatEnum {
        RGB24,
    }

    #[derive(Clone, Copy, Debug)]
    pub struct Color {
        pub r: u8,
        pub g: u8,
        pub b: u8,
    }

    impl Color {
        pub const WHITE: Self = Self::RGB(255, 255, 255);
        pub const BLACK: Self = Self::RGB(0, 0, 0);

        #[allow(non_snake_case)]
        pub const fn RGB(r: u8, g: u8, b: u8) -> Self {
            Self { r, g, b }
        }
    }
}

pub mod rect {
    #[derive(Clone, Copy, Debug)]
    pub struct Point {
        pub x: i32,
        pub y: i32,
    }

    impl Point {
        pub fn new(x: i32, y: i32) -> Self {
            Self { x, y }
        }
    }

    #[derive(Clone, Copy, Debug)]
    pub struct Rect {
        pub x: i32,
        pub y: i32,
        pub width: u32,
        pub height: u32,
    }
}

pub mod gfx {
    pub mod framerate {
        use crate::Result;

        #[derive(Debug, Default)]
        pub struct FPSManager;

        impl FPSManager {
            pub fn new() -> Self {
                Self
            }

            pub fn set_framerate(&mut self, _rate: u32) -> Result<()> {
                Ok(())
            }

            pub fn delay(&mut self) -> u32 {
                0
            }
        }
    }

    pub mod primitives {
        use crate::Result;
        use crate::pixels::Color;
        use crate::render::WindowCanvas;

        /// Shapes on a canvas: there is none, so there are none.
        pub trait DrawRenderer {
            fn aa_polygon(&self, xs: &[i16], ys: &[i16], colour: Color) -> Result<()>;
            fn filled_polygon(&self, xs: &[i16], ys: &[i16], colour: Color) -> Result<()>;
            fn aa_circle(&self, x: i16, y: i16, radius: i16, colour: Color) -> Result<()>;
            fn filled_circle(&self, x: i16, y: i16, radius: i16, colour: Color) -> Result<()>;
            fn hline(&self, x1: i16, x2: i16, y: i16, colour: Color) -> Result<()>;
            fn vline(&self, x: i16, y1: i16, y2: i16, colour: Color) -> Result<()>;
        }

        impl DrawRenderer for WindowCanvas {
            fn aa_polygon(&self, _xs: &[i16], _ys: &[i16], _colour: Color) -> Result<()> {
                match *self {}
            }

            fn filled_polygon(&self, _xs: &[i16], _ys: &[i16], _colour: Color) -> Result<()> {
                match *self {}
            }

            fn aa_circle(&self, _x: i16, _y: i16, _radius: i16, _colour: Color) -> Result<()> {
                match *self {}
            }

            fn filled_circle(&self, _x: i16, _y: i16, _radius: i16, _colour: Color) -> Result<()> {
                match *self {}
            }

            fn hline(&self, _x1: i16, _x2: i16, _y: i16, _colour: Color) -> Result<()> {
                match *self {}
            }

            fn vline(&self, _x: i16, _y1: i16, _y2: i16, _colour: Color) -> Result<()> {
                match *self {}
            }
        }
    }
}
