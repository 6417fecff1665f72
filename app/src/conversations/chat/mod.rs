//! The customers' page `/`: the chat with the assistant and with people.
//!
//! Everything works as plain forms. A script sends the same forms in the background, listens to `/chat/events`, and
//! falls back to `/chat/messages` where the stream does not come through.

mod begin;
mod forms;
mod page;
mod stream;
mod view;
mod visitor;

use actix_web::web;

/// The largest form: a message that is far too long is still shown again, not lost.
const FORM_BYTES: usize = 256 * 1024;

/// The page, its forms and its streams.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(page::page))
        .service(
            web::resource("/chat/messages")
                .app_data(web::FormConfig::default().limit(FORM_BYTES))
                .route(web::post().to(forms::say))
                .route(web::get().to(stream::messages)),
        )
        .route("/chat/events", web::get().to(stream::events))
        .route("/chat/person", web::post().to(forms::person))
        .route("/chat/typing", web::post().to(forms::typing))
        .route("/chat/end", web::post().to(forms::end))
        .route("/chat/satisfaction", web::post().to(forms::satisfaction))
        .route("/chat/new", web::post().to(forms::new));
}
