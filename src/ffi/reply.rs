//! A whole response from memory.

use nginx_sys::{
    ngx_http_output_filter, ngx_http_send_header, ngx_int_t, ngx_list_push, ngx_table_elt_t,
    NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_OK,
};

use super::{chain_of, code, pool_copy, str_of, Request};

/// An answer with status 200.
pub struct Reply<'a> {
    pub content_type: &'static str,
    pub headers: &'a [(&'static str, &'static str)],
    pub body: &'a [u8],
}

impl Reply<'_> {
    /// Sends it, and says what a content handler returns.
    pub fn send(&self, r: Request) -> ngx_int_t {
        if self.set_headers(r).is_none() {
            return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
        }
        // SAFETY: a live request whose header has not been sent.
        let rc = unsafe { ngx_http_send_header(r.as_ptr()) };
        if rc != code::OK || r.header_only() {
            return rc;
        }
        // SAFETY: the request's pool outlives the chain, which holds a copy of the body.
        unsafe {
            let mut out = chain_of(r.pool());
            if !out.push_copy(self.body) {
                return code::ERROR;
            }
            let last = &mut *(*out.head()).buf;
            last.set_last_buf(u32::from(r.is_main()));
            last.set_last_in_chain(1);
            ngx_http_output_filter(r.as_ptr(), out.head())
        }
    }

    fn set_headers(&self, r: Request) -> Option<()> {
        let kind = self.content_type;
        // SAFETY: a live request, on the event thread; the strings are static or in its pool.
        unsafe {
            let out = &mut (*r.as_ptr()).headers_out;
            out.status = NGX_HTTP_OK as usize;
            out.content_length_n = self.body.len() as i64;
            out.content_type = pool_copy(r.pool(), kind.as_bytes())?;
            // Up to the parameters: nginx adds no charset then, and finds the type in its lists.
            out.content_type_len = kind.find(';').unwrap_or(kind.len());
            for (name, value) in self.headers {
                let header = ngx_list_push(&mut out.headers).cast::<ngx_table_elt_t>().as_mut()?;
                *header = std::mem::zeroed();
                header.hash = 1;
                header.key = str_of(name.as_bytes());
                header.value = str_of(value.as_bytes());
            }
        }
        Some(())
    }
}
