//! wsgi_dispatch_script: a script has the last word on where a request runs (mod_wsgi semantics e.7).

use std::ffi::c_void;

use nginx_sys::{
    ngx_http_finalize_request, ngx_int_t, NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_INTERNAL_SERVER_ERROR,
};
use ngx_wsgi_host::wire::{hook, RequestEncoder};

use super::{environ, handler, Target};
use crate::ffi::{code, guard, Request};
use crate::hook::{Conclusion, Hook, Question};

const SERVER_ERROR: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// A request whose script is asked. Lives in the request's pool.
struct Pending {
    request: Request,
    /// Where the request goes as configured, and the question; `None` when it has gone on.
    asked: Option<(Target, Box<Question>)>,
}

/// Asks the script about a request that would go to `target`, and has it go on when there is an
/// answer. Returns what a content handler returns.
pub fn ask(r: Request, script: &Hook, target: Target) -> ngx_int_t {
    let tell = |encoder: &mut RequestEncoder| tell(r, &target, encoder);
    let Some(question) = script.ask(r, hook::DISPATCH, go_on, tell) else { return SERVER_ERROR };
    if let Some(conclusion) = question.outcome().cloned() {
        return conclude(r, target, conclusion);
    }
    let pending = Pending { request: r, asked: Some((target, question)) };
    let Some(pending) = r.keep(pending) else { return SERVER_ERROR };
    if !r.on_end(Some(on_end), pending.as_ptr()) {
        return SERVER_ERROR;
    }
    r.hold();
    code::DONE
}

/// Writes the environ of the script: all that nginx knows, and the parameters of the configuration.
fn tell(r: Request, target: &Target, encoder: &mut RequestEncoder) {
    let (conf, main) = handler::confs(r);
    if let Some(neighbours) = &main.neighbours {
        environ::encode(r, conf, neighbours, target, &environ::Asked::default(), encoder);
    }
}

/// The question has an outcome.
fn go_on(r: Request) {
    let asked = r.kept::<Pending>().find_map(|mut pending| {
        // SAFETY: what is kept lives as long as the request's pool, on the event thread, and nothing
        // else refers to it now.
        let pending = unsafe { pending.as_mut() };
        pending.asked.take_if(|_| pending.request == r)
    });
    let Some((target, question)) = asked else { return };
    let conclusion = question.outcome().cloned().unwrap_or(Conclusion::Failed);
    drop(question);
    let rc = conclude(r, target, conclusion);
    // SAFETY: a live request that was held for this; it is not used afterwards.
    unsafe { ngx_http_finalize_request(r.as_ptr(), rc) };
}

fn conclude(r: Request, mut target: Target, conclusion: Conclusion) -> ngx_int_t {
    match conclusion {
        Conclusion::Answered(answer) => {
            let (conf, main) = handler::confs(r);
            for (function, name) in answer.values {
                target.replace(r, main, conf, &function, name);
            }
            handler::pass(r, target)
        }
        Conclusion::Failed => SERVER_ERROR,
        Conclusion::TimedOut => NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t,
    }
}

/// The request ends, perhaps in the middle of the question.
unsafe extern "C" fn on_end(data: *mut c_void) {
    guard("the end of a request", (), || {
        // SAFETY: what is kept lives in the request's pool, which goes after its cleanups.
        let pending = unsafe { &mut *data.cast::<Pending>() };
        if let Some((_, mut question)) = pending.asked.take() {
            question.read_last_lines();
        }
    });
}
