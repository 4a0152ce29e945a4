package WsgiTest;

# Test::Nginx::Socket for WSGI applications. Sections and macros on top of its own:
#
#   --- app             Python source of app.wsgi. A block that has it runs twice, embedded and in a
#                       daemon process group, and mounts it at / unless it has a --- config
#   --- mode            embedded or daemon: only that
#   --- config_error    http {} configuration that nginx has to refuse: with an emerg line that has
#                       the text of --- error, and file and line in it unless there is --- nowhere
#   --- daemon_options  options of the daemon process group (threads=4)
#   --- invalid         why the applications of the block are not meant to be legal ones, or what
#                       wsgiref.validate hides from them
#   @GROUP@             the process-group= option of the mode
#   @MODE@              embedded or daemon
#   @DIR@               where app.wsgi and the --- user_files are
#   @VERSION@           major.minor of the Python that the module is built for
#   @PREFIX@, @BIN@     its prefix, and where its executable is
#   @REPLY text@        source of an application that answers with that line
#   @SHOW KEY ...@      source of an application that answers with these keys of its environ
#
# WSGI_MASTER=1 runs everything with a master process and two workers. WSGI_VALIDATE=1 runs the
# applications inside wsgiref.validate; what it has to complain about fails the block.

use Test::Nginx::Socket -Base;

our @EXPORT = qw(run_wsgi_tests);

my %group = (embedded => '"process-group=%{GLOBAL}"', daemon => 'process-group=daemon');

my $facts = 'import os, sys, sysconfig; print("%d.%d" % sys.version_info[:2], sys.base_prefix,'
    . ' os.path.dirname(os.path.realpath(sys.executable)),'
    . ' int(bool(sysconfig.get_config_var("Py_GIL_DISABLED"))))';
my ($version, $prefix, $bin, $without_gil) = split ' ', qx{$ENV{PYTHON} -c '$facts'};

# Whether that Python is a free-threaded build.
our $free_threaded = $without_gil;

sub run_wsgi_tests() {
    plan('no_plan');
    no_root_location();
    no_long_string();
    if ($ENV{WSGI_MASTER}) {
        master_on();
        workers(2);
    }
    $ENV{TEST_NGINX_HTML_DIR} = html_dir();
    spec_string(join '', map { expand_modes($_) } split /^(?====)/m, spec_of_caller());
    add_block_preprocessor(\&prepare);
    run_tests();
}

sub spec_of_caller() {
    local $/;
    my $text = <main::DATA>;
    close main::DATA;
    return $text;
}

my $reply = <<'END';
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%s\n']
END

my $show = <<'END';
def line(environ, key):
    return '%%s=%%r\n' %% (key, environ[key]) if key in environ else key + ' absent\n'

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [line(environ, key).encode() for key in '%s'.split()]
END

sub expand_modes() {
    my $text = shift;
    return '' unless $text =~ /^===/;
    $text =~ s/^\@REPLY (.*)\@\n/sprintf $reply, $1/gme;
    $text =~ s/^\@SHOW (.*)\@\n/sprintf $show, $1/gme;
    $text =~ s/\@DIR\@/\$TEST_NGINX_HTML_DIR/g;
    $text =~ s/\@VERSION\@/$version/g;
    $text =~ s/\@PREFIX\@/$prefix/g;
    $text =~ s/\@BIN\@/$bin/g;
    return $text unless $text =~ /^--- app|\@GROUP\@|\@MODE\@/m;
    my @modes = $text =~ /^--- mode: *(\w+)/m ? $1 : qw(embedded daemon);
    return map { for_mode($text, $_) } @modes;
}

sub for_mode() {
    my ($text, $mode) = @_;
    $text =~ s/^(=== .*)/$1 [$mode]/;
    $text =~ s/^--- mode.*\n//m;
    $text =~ s/\@MODE\@/$mode/g;
    $text =~ s/\@GROUP\@/$group{$mode}/g;
    # A block ends where the next one starts.
    $text =~ s/\n*\z/\n--- daemon_group: $mode\n\n/ if $mode eq 'daemon';
    return $text;
}

sub prepare() {
    my $block = shift;
    if (defined $block->app) {
        my $files = ">>> app.wsgi\n" . $block->app;
        $files .= $block->user_files if defined $block->user_files;
        $block->set_value(user_files => $files);
    }
    validate($block) if $ENV{WSGI_VALIDATE} && defined $block->user_files && !defined $block->invalid;
    die $block->name . ": --- invalid says why\n" if defined $block->invalid && $block->invalid !~ /\w/;
    expect_refusal($block) if defined $block->config_error;
    my $daemon = defined $block->daemon_group;
    if ($daemon) {
        my $options = $block->daemon_options // 'threads=4';
        $options =~ s/\s+\z//;
        $block->set_value(http_config =>
            "wsgi_daemon_process daemon $options;\n" . ($block->http_config // ''));
    }
    if ($> != 0) {
        # The default lies beside nginx's own, where only root may make it.
        $block->set_value(http_config =>
            "wsgi_temp_path \$TEST_NGINX_SERVER_ROOT/wsgi_temp;\n" . ($block->http_config // ''));
    }
    unless (defined $block->config || defined $block->config_error) {
        my $group = $group{$daemon ? 'daemon' : 'embedded'};
        $block->set_value(config => "wsgi_script_alias / \$TEST_NGINX_HTML_DIR/app.wsgi $group;");
    }
}

my $validated = do {
    local (@ARGV, $/) = __FILE__ =~ s/WsgiTest\.pm\z/validated.py/r;
    <>;
};

sub validate() {
    my $block = shift;
    my (undef, %files) = split /^>>> *(\S+)[^\n]*\n/m, $block->user_files;
    $files{$_} .= $validated for grep { /\.wsgi\z/ || $files{$_} =~ /^(def )?application\b/m } keys %files;
    $block->set_value(user_files => join '', map { ">>> $_\n$files{$_}" } sort keys %files);
    my $none = $block->no_error_log // [];
    $none = [grep { length } split /\n/, $none] unless ref $none;
    # Frames and exceptions of the validator, in a traceback.
    $block->set_value(no_error_log => [@$none, ', in assert_', ', in check_string_type', 'validate.WSGIWarning']);
}

sub expect_refusal() {
    my $block = shift;
    my $where = defined $block->nowhere ? '' : '.* in \S+/nginx\.conf:\d+$';
    my $text = $block->error;
    $text =~ s/\s+\z//;
    $block->set_value(http_config => $block->config_error);
    $block->set_value(config => '');
    $block->set_value(must_die => 1);
    $block->set_value(suppress_stderr => 1);
    $block->set_value(error_log => qr/\[emerg\].*\Q$text\E$where/m);
}

1;
