"""Bad values of every directive: `nginx -t` names directive, value, file and line."""

import re

import pytest

from test_docs import DOCUMENT, in_the_module

# What each directive does not accept. Paths must exist only where nginx opens them when it reads its configuration.
FLAG = ["maybe", "1"]
TIME = ["soon", "1q"]
SIZE = ["big", "1q"]
BAD = {
    "wsgi_access_script": ['""', "/a extra=1", "/a application-group=%{RESOURCE}"],
    "wsgi_application_group": ["%{NOTHING}", "%{ENV:}"],
    "wsgi_auth_group_script": ['""', "/a extra=1", "/a application-group=%{RESOURCE}"],
    "wsgi_auth_name": ['""'],
    "wsgi_auth_nonce_lifetime": [*TIME, "0"],
    "wsgi_auth_type": ["ntlm"],
    "wsgi_auth_user_script": ['""', "/a extra=1", "/a application-group=%{RESOURCE}"],
    "wsgi_buffer_size": SIZE,
    "wsgi_buffering": FLAG,
    "wsgi_buffers": ["8 big", "none 4k"],
    "wsgi_busy_buffers_size": SIZE,
    "wsgi_cache": ["$nothing"],
    "wsgi_cache_background_update": FLAG,
    "wsgi_cache_bypass": ["$nothing"],
    "wsgi_cache_key": ["$nothing"],
    "wsgi_cache_lock": FLAG,
    "wsgi_cache_lock_age": TIME,
    "wsgi_cache_lock_timeout": TIME,
    "wsgi_cache_max_range_offset": SIZE,
    "wsgi_cache_methods": ["FETCH"],
    "wsgi_cache_min_uses": ["few"],
    "wsgi_cache_path": ["{dir}/c", "{dir}/c keys_zone=z", "{dir}/c keys_zone=z:1m nonsense=1", "{dir}/c keys_zone=z:1m levels=9"],
    "wsgi_cache_revalidate": FLAG,
    "wsgi_cache_use_stale": ["always"],
    "wsgi_cache_valid": ["soon", "20000 1m"],
    "wsgi_callable_object": ["%{NOTHING}", "%{GLOBAL}"],
    "wsgi_case_sensitivity": FLAG,
    "wsgi_chunked_request": FLAG,
    "wsgi_connect_timeout": TIME,
    "wsgi_daemon_executable": ['""', "/nowhere/at-all"],
    "wsgi_daemon_process": ["g processes=0", "g nonsense=1", "g user=no-such-user"],
    "wsgi_destroy_interpreter": FLAG,
    "wsgi_dispatch_script": ['""', "/a extra=1", "/a application-group=%{RESOURCE}"],
    "wsgi_dont_write_bytecode": FLAG,
    "wsgi_embedded_threads": ["many", "-1", "1025"],
    "wsgi_error_override": FLAG,
    "wsgi_force_ranges": FLAG,
    "wsgi_free_threading": FLAG,
    "wsgi_handler_script": ['pages ""', "wsgi-script /a", "pages /a nonsense=1"],
    "wsgi_ignore_activity": FLAG,
    "wsgi_ignore_client_abort": FLAG,
    "wsgi_ignore_headers": ["Date"],
    "wsgi_import_script": ["/a", "/a process-group=g nonsense=1", '"" process-group=g application-group=a', '/a process-group=nobody "application-group=%{GLOBAL}"'],
    "wsgi_intercept_errors": FLAG,
    "wsgi_interpreter_options": ["nonsense=1 { }", "application-group= { }"],
    "wsgi_lazy_initialization": FLAG,
    "wsgi_limit_rate": SIZE,
    "wsgi_map_head_to_get": ["maybe"],
    "wsgi_max_temp_file_size": SIZE,
    "wsgi_next_upstream": ["always"],
    "wsgi_next_upstream_timeout": TIME,
    "wsgi_next_upstream_tries": ["few"],
    "wsgi_no_cache": ["$nothing"],
    "wsgi_param": ["A b maybe", "A $nothing"],
    "wsgi_pass_authorization": FLAG,
    "wsgi_pass_request_body": FLAG,
    "wsgi_pass_request_headers": FLAG,
    "wsgi_per_interpreter_gil": FLAG,
    "wsgi_process_group": ["%{NOTHING}", "nobody"],
    "wsgi_python_eggs": ['""', "{dir}/nginx.conf"],
    "wsgi_python_hash_seed": ["dice", "4294967296"],
    "wsgi_python_home": ['""', "/a:", "/a:/b:/c"],
    "wsgi_python_optimize": ["3", "much"],
    "wsgi_python_warnings": ["sometimes"],
    "wsgi_read_timeout": TIME,
    "wsgi_request_buffering": FLAG,
    "wsgi_require": ["nobody", "user", "valid-user alice"],
    "wsgi_restrict_embedded": FLAG,
    "wsgi_restrict_signal": FLAG,
    "wsgi_restrict_stdin": FLAG,
    "wsgi_restrict_stdout": FLAG,
    "wsgi_script_alias": ['/ ""', "/a", "a /b", "/a /b nonsense=1"],
    "wsgi_script_alias_match": ['^/a ""', "^/a", "( /b", "^/a /b nonsense=1"],
    "wsgi_script_reloading": FLAG,
    "wsgi_send_timeout": TIME,
    "wsgi_server_metrics": FLAG,
    "wsgi_set_handler": ["nobody"],
    "wsgi_slow_requests": ["soon", "-1"],
    "wsgi_socket_prefix": ['""', "/" + "x" * 120],
    "wsgi_status": ["xml"],
    "wsgi_store": ["$nothing"],
    "wsgi_store_access": ["all:maybe"],
    "wsgi_switch_interval": ["often", "-1"],
    "wsgi_temp_file_write_size": SIZE,
    "wsgi_temp_path": ["{dir}/t x"],
    "wsgi_trusted_proxies": ["somewhere", "10.0.0.0/99"],
}
# Any text is a name, a path or a header here. An unknown wsgi_trusted_proxy_headers is a warning.
ANY = {"wsgi_hide_header", "wsgi_pass_header", "wsgi_python_path"}
ANY |= {"wsgi_restrict_process", "wsgi_trusted_proxy_headers"}
# What nginx's own code says, of these as of its own directives, without the directive or without the place.
NGINX = r'invalid (time )?value "|invalid (keys zone size|parameter|status|"levels") "|unknown "nothing" variable$'


def obsolete():
    section = DOCUMENT.split("# Directives without effect", 1)[1].split("\n#", 1)[0]
    return set(re.findall(r"^\| `(wsgi_\w+)", section, re.M))


def test_every_directive_is_here():
    assert set(in_the_module()) == set(BAD) | ANY | obsolete()
    assert not set(BAD) & (ANY | obsolete())


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_stops_the_start(nginx, name):
    where = in_the_module()[name]
    for value in BAD[name]:
        line = f"{name} {value}" if value.endswith("}") else f"{name} {value};"
        if "location" in where:
            nginx.configure(server=f"location /here {{ {line} }}")
        else:
            nginx.configure(http=line)
        tested = nginx.run("-t")
        message = next((text for text in tested.stderr.splitlines() if "[emerg]" in text), tested.stderr)
        assert tested.returncode != 0, (line, message)
        if not re.search(NGINX, message):
            assert name in message, (line, message)
        if not message.endswith(" variable"):
            lines = enumerate(nginx.conf.read_text().splitlines(), 1)
            place = max(number for number, text in lines if name in text)
            assert re.search(rf"nginx\.conf:{place}\b", message), (line, message)
