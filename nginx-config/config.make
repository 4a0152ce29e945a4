# Sourced after config, when ./configure writes the Makefile.
[ -z "$ngx_wsgi_target" ] || ngx_wsgi_rules
