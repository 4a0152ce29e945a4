# wsgi_script_alias_match: what it takes, where $N leads, and its order among aliases.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: a group picks the script, the unmatched rest is PATH_INFO
--- app
@SHOW SCRIPT_NAME PATH_INFO SCRIPT_FILENAME@
--- config
wsgi_script_alias_match ^/projects/([^/]+) @DIR@/$1.wsgi @GROUP@;
--- request eval
["GET /projects/app/x/y?z", "GET /projects/app", "GET /projects/app/"]
--- response_body eval
my $file = "SCRIPT_FILENAME='$ENV{TEST_NGINX_HTML_DIR}/app.wsgi'\n";
["SCRIPT_NAME='/projects/app'\nPATH_INFO='/x/y'\n$file",
 "SCRIPT_NAME='/projects/app'\nPATH_INFO=''\n$file",
 "SCRIPT_NAME='/projects/app'\nPATH_INFO='/'\n$file"]



=== TEST 2: the rest of the URL is part of the match
--- app
@SHOW SCRIPT_NAME PATH_INFO@
--- config
wsgi_script_alias_match ^/app(/.*)?$ @DIR@/app.wsgi$1 @GROUP@;
--- request eval
["GET /app/x/y", "GET /app"]
--- response_body eval
["SCRIPT_NAME='/app'\nPATH_INFO='/x/y'\n", "SCRIPT_NAME='/app'\nPATH_INFO=''\n"]



=== TEST 3: a target without groups, and the root
--- app
@SHOW SCRIPT_NAME PATH_INFO@
--- config
wsgi_script_alias_match ^/(one|two) @DIR@/app.wsgi @GROUP@;
wsgi_script_alias_match ^/ @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /one/x", "GET /two", "GET /other/x"]
--- response_body eval
["SCRIPT_NAME='/one'\nPATH_INFO='/x'\n", "SCRIPT_NAME='/two'\nPATH_INFO=''\n",
 "SCRIPT_NAME=''\nPATH_INFO='/other/x'\n"]



=== TEST 4: a directory of scripts
--- app
@REPLY unused@
--- user_files
>>> site/scripts/deep/two.wsgi
@SHOW SCRIPT_NAME PATH_INFO@
--- config
wsgi_script_alias_match ^/run/(\w+) @DIR@/$1/scripts @GROUP@;
--- request eval
["GET /run/site/deep/two.wsgi/x", "GET /run/site/deep", "GET /run/site/none.wsgi", "GET /run/none/x"]
--- error_code eval
[200, 403, 404, 404]
--- response_body_like eval
["^SCRIPT_NAME='/run/site/deep/two.wsgi'\nPATH_INFO='/x'\n\$", "403", "404", "404"]



=== TEST 5: the URL cannot lead out of the directory
--- app
@REPLY unused@
--- user_files
>>> secret/app.wsgi
@REPLY secret@
>>> scripts/app.wsgi
@REPLY script@
--- config
wsgi_script_alias_match ^/run(.*)$ @DIR@/scripts/$1 @GROUP@;
--- request eval
["GET /run/app.wsgi", "GET /run../secret/app.wsgi"]
--- error_code eval
[200, 404]
--- response_body_like eval
["^script", "404"]



=== TEST 6: in file order with wsgi_script_alias
--- app
@REPLY first@
--- user_files
>>> second.wsgi
@REPLY second@
--- config
wsgi_script_alias /a/b @DIR@/second.wsgi @GROUP@;
wsgi_script_alias_match ^/a @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /a/c @DIR@/second.wsgi @GROUP@;
--- request eval
["GET /a/b", "GET /a/c", "GET /a"]
--- response_body eval
["second\n", "first\n", "first\n"]



=== TEST 7: of the location, of the server, of http; not in a location with a root
--- app
@REPLY server@
--- user_files
>>> http.wsgi
@REPLY http@
>>> location.wsgi
@REPLY location@
>>> static/a.txt
file
--- http_config
wsgi_script_alias_match .* @DIR@/http.wsgi @GROUP@;
--- config
wsgi_script_alias_match ^/server @DIR@/app.wsgi @GROUP@;
location /server/location { wsgi_script_alias_match ^/server/location @DIR@/location.wsgi @GROUP@; }
location /static/ { root @DIR@; }
location /off { wsgi_script_alias off; }
--- request eval
["GET /server/location", "GET /server", "GET /static/a.txt", "GET /off"]
--- error_code eval
[200, 200, 200, 404]
--- response_body_like eval
["^location", "^server", "^file", "404"]



=== TEST 8: a match that isn't at the start, and none
--- app
@SHOW SCRIPT_NAME PATH_INFO@
--- config
wsgi_script_alias_match \.py @DIR@/app.wsgi @GROUP@;
wsgi_script_alias_match x* @DIR@/none.wsgi @GROUP@;
location / { return 200 "location\n"; }
location /a { }
--- request eval
["GET /a/b.py/c", "GET /a/b"]
--- error_code eval
[200, 404]
--- response_body_like eval
["^SCRIPT_NAME='/a/b.py'\nPATH_INFO='/c'\n", "404"]



=== TEST 9: letter case as the expression says
--- app
@REPLY app@
--- config
wsgi_script_alias_match ^/app @DIR@/app.wsgi @GROUP@;
wsgi_script_alias_match (?i)^/any @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /APP", "GET /ANY", "GET /any"]
--- error_code eval
[404, 200, 200]



=== TEST 10: options
--- app
def other(environ, start_response):
    start_response('200 OK', [])
    keys = 'HTTP_AUTHORIZATION', 'mod_wsgi.application_group'
    return [repr([environ.get(key) for key in keys]).encode()]
--- config
wsgi_script_alias_match ^/ @DIR@/app.wsgi @GROUP@ callable-object=other application-group=mine pass-authorization=on;
--- more_headers
Authorization: Basic dTpw
--- request
GET /
--- response_body: ['Basic dTpw', 'mine']



=== TEST 11: loaded before any request when the target is one script
--- app
import mod_wsgi
print('loaded in', repr(mod_wsgi.process_group))
@REPLY app@
--- config
wsgi_script_alias_match ^/app @DIR@/app.wsgi @GROUP@ application-group=early;
location / { return 200 "location\n"; }
--- request
GET /
--- response_body
location
--- wait: 1
--- error_log eval
qr/loaded in '(daemon)?'/



=== TEST 12: not loaded before when the URL chooses
--- app
print('too early')
@REPLY app@
--- config
wsgi_script_alias_match ^/(app) @DIR@/$1.wsgi @GROUP@ application-group=early;
location / { return 200 "location\n"; }
--- request
GET /
--- response_body
location
--- no_error_log
too early



=== TEST 13: a match that can never happen
--- app
@REPLY app@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_script_alias_match ^/a/b @DIR@/app.wsgi @GROUP@;
--- request
GET /a/b
--- response_body
app
--- error_log eval
qr{\[warn\].*"wsgi_script_alias_match" "\^/a/b" can never match: "/" in \S+nginx.conf:\d+ comes first}



=== TEST 14: a dollar sign in the path
--- app
@REPLY unused@
--- user_files
>>> cash$1.wsgi
@REPLY cash@
--- config
wsgi_script_alias_match ^/(app) @DIR@/cash\$1.wsgi @GROUP@;
--- request
GET /app
--- response_body
cash



=== TEST 15: a group of the location in a parameter
--- app
@SHOW NAME@
--- config
wsgi_script_alias_match ^/(a)[^/]* @DIR@/app.wsgi @GROUP@;
location ~ ^/(\w+) { wsgi_param NAME $1; }
--- request
GET /abc
--- response_body
NAME='abc'



=== TEST 16: an expression that does not compile
--- config_error
wsgi_script_alias_match ^/(a /a.wsgi;
--- error: "wsgi_script_alias_match" pcre



=== TEST 17: no target
--- config_error
wsgi_script_alias_match ^/a;
--- error: "wsgi_script_alias_match" requires at least two arguments



=== TEST 18: no such group
--- config_error
wsgi_script_alias_match ^/(a) /$2.wsgi;
--- error: "wsgi_script_alias_match" has invalid target "/$2.wsgi": "$2" names a group that the regular expression does not have



=== TEST 19: a variable
--- config_error
wsgi_script_alias_match ^/(a) /$host.wsgi;
--- error: "wsgi_script_alias_match" has invalid target "/$host.wsgi": only "$0" to "$9"



=== TEST 20: an unknown option
--- config_error
wsgi_script_alias_match ^/a /a.wsgi nonsense=1;
--- error: "wsgi_script_alias_match" has invalid option "nonsense=1"



=== TEST 21: a group that is not defined
--- config_error
wsgi_script_alias_match ^/(a) /$1.wsgi process-group=none;
--- error: "wsgi_script_alias_match" names unknown daemon process group "none"



=== TEST 22: the first of many that takes a URL, paths and expressions in their order
--- app
@SHOW SCRIPT_NAME PATH_INFO mod_wsgi.application_group@
--- config
wsgi_script_alias /a/b @DIR@/app.wsgi @GROUP@ application-group=path-1;
wsgi_script_alias_match ^/a/(b|c) @DIR@/app.wsgi @GROUP@ application-group=match-2;
wsgi_script_alias /a/c @DIR@/app.wsgi @GROUP@ application-group=path-3;
wsgi_script_alias /a @DIR@/app.wsgi @GROUP@ application-group=path-4;
wsgi_script_alias /b/ @DIR@/app.wsgi @GROUP@ application-group=path-5;
wsgi_script_alias_match ^/b$ @DIR@/app.wsgi @GROUP@ application-group=match-6;
wsgi_script_alias /some/where/deep @DIR@/app.wsgi @GROUP@ application-group=path-7;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ application-group=path-8;
--- request eval
["GET /a/b/x", "GET /a/c/x", "GET /a/x", "GET /ab/x", "GET /b/x", "GET /b", "GET /some/where/deeper",
 "GET /some//where///deep/x"]
--- response_body eval
sub shown { "SCRIPT_NAME='$_[0]'\nPATH_INFO='$_[1]'\nmod_wsgi.application_group='$_[2]'\n" }
[shown("/a/b", "/x", "path-1"), shown("/a/c", "/x", "match-2"), shown("/a", "/x", "path-4"),
 shown("", "/ab/x", "path-8"), shown("/b", "/x", "path-5"), shown("/b", "", "match-6"),
 shown("", "/some/where/deeper", "path-8"), shown("/some/where/deep", "/x", "path-7")]
