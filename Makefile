# Which Python and which nginx, and where nginx's sources are, when it isn't the distribution's.
PYTHON ?= /usr/bin/python3
NGINX ?= /usr/sbin/nginx
# STATIC_PYTHON=1: the host has Python inside instead of using libpython.
export PYTHON STATIC_PYTHON NGINX_SOURCE_DIR NGINX_BUILD_DIR
# nginx takes a variable NGINX for the sockets that an upgrade hands on.
export WSGI_NGINX = $(NGINX)
unexport NGINX

PREFIX ?= /usr
LIBEXEC = $(DESTDIR)$(PREFIX)/lib/nginx/modules
T ?= t/

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build demo demo-stop test unittest t apps validate conformance conformance-quick check nginx-build-test pythons valgrind bench soak zero-loss install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build/ngx_http_wsgi_module.so and build/ngx-wsgi-host
	scripts/build

demo: build ## serve Django and Flask on a port of this machine, and say which
	scripts/demo start

demo-stop: ## stop what `make demo` started
	scripts/demo stop

test: unittest t apps validate conformance-quick nginx-build-test ## everything that has to pass

unittest: build ## cargo test
	scripts/cargo test --workspace

t: build ## the Test::Nginx suite, without and with a master process (T=t/030-environ.t for a part)
	scripts/prove $(T)

apps: build ## lifecycles and applications, with pytest (ARGS='-k django' for a part)
	scripts/pytest $(ARGS)

conformance: build ## the same requests to Apache with mod_wsgi, and compare (ARGS='--case input/read' for a part)
	scripts/conformance $(ARGS)

conformance-quick: build ## a part of that, with some of every section
	scripts/conformance --quick $(ARGS)
# Of the tests that take long, those that have an application to themselves; the lives of processes are the
# same with any application, and configurations have none.
VALIDATED = not (test_load or test_lifecycle or test_zero_loss or test_crash_loops or test_browser or test_httpie or \
	test_large or test_timers or test_reload or test_log_rotation or test_chroot or test_import or test_service or \
	test_socket_timeout or test_initialization or test_own_gil or test_worker_memory or test_process_memory or test_docs or test_bad_values) or \
	daemon-4-1 or waiting_requests_go or body_is_visibly_cut

validate: build ## the tests' applications inside wsgiref.validate
	WSGI_VALIDATE=1 WSGI_MASTER=1 scripts/prove $(T)
	WSGI_VALIDATE=1 scripts/pytest -k "$(VALIDATED)" $(ARGS)

nginx-build-test: build ## the module through nginx's own ./configure
	scripts/nginx-build-test

pythons: ## the suites with every Python of PYTHONS, or with each version that is found
	scripts/pythons

valgrind: build ## memory errors and leaks, under valgrind's memcheck
	scripts/valgrind

check: ## formatting, lints, licences
	scripts/check

bench: build ## cost of a request, beside other servers (ARGS=--quick, scale or budget for less or else)
	bench/run $(ARGS)

soak: build ## the load tests in full size
	SOAK=1 scripts/pytest tests/test_load.py $(ARGS)

zero-loss: build ## many reloads and replaced processes under load: no request fails (ZERO_LOSS=50)
	ZERO_LOSS=$${ZERO_LOSS:-50} scripts/pytest tests/test_zero_loss.py -s $(ARGS)

install: ## copy what `make build` made to $(LIBEXEC)
	install -d $(LIBEXEC)
	install -m 644 build/ngx_http_wsgi_module.so $(LIBEXEC)
	install -m 755 build/ngx-wsgi-host $(LIBEXEC)

clean: demo-stop ## remove what was built
	cargo clean
	rm -rf build .venv
