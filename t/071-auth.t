# wsgi_auth_user_script, wsgi_auth_group_script, wsgi_auth_type, wsgi_auth_name, wsgi_require: who the client is, and who is
# let in. Basic authentication; tests/test_hooks.py has Digest.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: without credentials there is a challenge
--- app
@REPLY unused@
--- user_files
>>> auth.py
def check_password(environ, user, password):
    return {'yes': True, 'no': False, 'none': None, 'other': 'Other', 'utf8': '\u20ac'}[password]
--- config
wsgi_auth_type basic;
wsgi_auth_name "the realm";
wsgi_auth_user_script @DIR@/auth.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 401
--- response_headers
WWW-Authenticate: Basic realm="the realm"
--- no_error_log
[error]


=== TEST 2: True
--- app
@SHOW REMOTE_USER AUTH_TYPE HTTP_AUTHORIZATION@
--- user_files
>>> auth.py
def check_password(environ, user, password):
    return {'yes': True, 'no': False, 'none': None, 'other': 'Other', 'utf8': '\u20ac'}[password]
--- config
wsgi_auth_type basic;
wsgi_auth_name "the realm";
wsgi_auth_user_script @DIR@/auth.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
Authorization: Basic Ym9iOnllcw==
--- request
GET /
--- error_code: 200
--- response_body
REMOTE_USER='bob'
AUTH_TYPE='Basic'
HTTP_AUTHORIZATION absent


=== TEST 3: a str is another name for the user
--- app
@SHOW REMOTE_USER AUTH_TYPE HTTP_AUTHORIZATION@
--- user_files
>>> auth.py
def check_password(environ, user, password):
    return {'yes': True, 'no': False, 'none': None, 'other': 'Other', 'utf8': '\u20ac'}[password]
--- config
wsgi_auth_type basic;
wsgi_auth_name "the realm";
wsgi_auth_user_script @DIR@/auth.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
Authorization: Basic Ym9iOm90aGVy
--- request
GET /
--- error_code: 200
--- response_body
REMOTE_USER='Other'
AUTH_TYPE='Basic'
HTTP_AUTHORIZATION absent


=== TEST 4: which becomes UTF-8
--- app
@SHOW REMOTE_USER AUTH_TYPE HTTP_AUTHORIZATION@
--- user_files
>>> auth.py
def check_password(environ, user, password):
    return {'yes': True, 'no': False, 'none': None, 'other': 'Other', 'utf8': '\u20ac'}[password]
--- config
wsgi_auth_type basic;
wsgi_auth_name "the realm";
wsgi_auth_user_script @DIR@/auth.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
Authorization: Basic Ym9iOnV0Zjg=
--- request
GET /
--- error_code: 200
--- response_body
REMOTE_USER='â\x82¬'
AUTH_TYPE='Basic'
HTTP_AUTHORIZATION absent


=== TEST 5: False
--- app
@SHOW REMOTE_USER AUTH_TYPE HTTP_AUTHORIZATION@
--- user_files
>>> auth.py
def check_password(environ, user, password):
    return {'yes': True, 'no': False, 'none': None, 'other': 'Other', 'utf8': '\u20ac'}[password]
--- config
wsgi_auth_type basic;
wsgi_auth_name "the realm";
wsgi_auth_user_script @DIR@/auth.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
Authorization: Basic Ym9iOm5v
--- request
GET /
--- error_code: 401
--- response_headers
WWW-Authenticate: Basic realm="the realm"
--- error_log
user "bob": password mismatch


=== TEST 6: None
--- app
@SHOW REMOTE_USER AUTH_TYPE HTTP_AUTHORIZATION@
--- user_files
>>> auth.py
def check_password(environ, user, password):
    return {'yes': True, 'no': False, 'none': None, 'other': 'Other', 'utf8': '\u20ac'}[password]
--- config
wsgi_auth_type basic;
wsgi_auth_name "the realm";
wsgi_auth_user_script @DIR@/auth.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
Authorization: Basic Ym9iOm5vbmU=
--- request
GET /
--- error_code: 401
--- response_headers
WWW-Authenticate: Basic realm="the realm"
--- error_log
user "bob" was not found


=== TEST 7: an exception
--- app
@SHOW REMOTE_USER AUTH_TYPE HTTP_AUTHORIZATION@
--- user_files
>>> auth.py
def check_password(environ, user, password):
    return {'yes': True, 'no': False, 'none': None, 'other': 'Other', 'utf8': '\u20ac'}[password]
--- config
wsgi_auth_type basic;
wsgi_auth_name "the realm";
wsgi_auth_user_script @DIR@/auth.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
Authorization: Basic Ym9iOm1pc3Npbmc=
--- request
GET /
--- error_code: 500
--- error_log eval
[qr/Exception occurred in check_password\(\) of WSGI script '.*auth.py'\./, qr/KeyError: 'missing'/]


=== TEST 8: credentials are latin-1
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return user == 'caf\xe9' and password == 'p\xe4ss:word'
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 200
--- response_body
content


=== TEST 9: an empty name
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return ''
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 500
--- error_log eval
[qr/WSGI script '.*auth.py': check_password\(\) returned an empty user name\./]


=== TEST 10: a name with a line end
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return 'a\nb'
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 500
--- error_log eval
[qr/check_password\(\) returned a user name with control characters\./]


=== TEST 11: bytes
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return b'bob'
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 500
--- error_log eval
[qr/check_password\(\) has to return True, False, None or a user name, not .*bytes/]


=== TEST 12: a number
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return 1
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 500
--- error_log eval
[qr/check_password\(\) has to return True, False, None or a user name, not .*int/]


=== TEST 13: a name that is no text
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return '\ud800'
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 500
--- error_log eval
[qr/Exception occurred in check_password\(\) of WSGI script '.*auth.py'/, qr/UnicodeEncodeError/]


=== TEST 14: no such function
--- user_files
>>> a.txt
content
>>> auth.py
def nothing():
    pass
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 500
--- error_log eval
[qr/WSGI script '.*auth.py': The script has no function check_password\(\)\./]


=== TEST 15: a script that cannot be loaded
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    pass

1 / 0
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 500
--- error_log eval
[qr/Unable to execute Python script file/, qr/ZeroDivisionError/]


=== TEST 16: a group, whatever its letter case
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return ['zero', 'TWO']
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 200


=== TEST 17: groups as bytes
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return (b'one',)
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 200


=== TEST 18: groups from a generator
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    yield 'one'
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 200


=== TEST 19: groups from a set
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return {'one'}
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 200


=== TEST 20: groups from a dict
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return {'one': 1}
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 200


=== TEST 21: other groups
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return ['zero']
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 401
--- response_headers
WWW-Authenticate: Basic realm="r"
--- error_log
meets no "wsgi_require"


=== TEST 22: no groups
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return []
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 401
--- error_log
meets no "wsgi_require"


=== TEST 23: a str is no list of groups
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return 'one'
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 401
--- error_log eval
[qr/WSGI script '.*groups.py': groups_for_user\(\) has to return an iterable of group names, not .*str/]


=== TEST 24: None is no list of groups
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return None
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 401
--- error_log eval
[qr/groups_for_user\(\) has to return an iterable of group names, not .*None/]


=== TEST 25: groups that are numbers
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return ['one', 1]
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 401
--- error_log eval
[qr/groups_for_user\(\) has to return group names that are str or bytes, not .*int/]


=== TEST 26: groups that are no list
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    return 1
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 401
--- error_log eval
[qr/Exception occurred in groups_for_user\(\) of WSGI script '.*groups.py'/, qr/TypeError: 'int' object is not iterable/]


=== TEST 27: an exception while groups are listed
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
>>> groups.py
def groups_for_user(environ, user):
    assert user == 'caf\xe9'
    yield 'one'; raise KeyError('no luck')
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
    wsgi_auth_group_script @DIR@/groups.py;
    wsgi_require group one Two;
}
--- more_headers
Authorization: Basic Y2Fm6Tpw5HNzOndvcmQ=
--- request
GET /a.txt
--- error_code: 401
--- error_log eval
[qr/Exception occurred in groups_for_user\(\) of WSGI script '.*groups.py'/, qr/KeyError: 'no luck'/]


=== TEST 28: groups without a script
--- config_error
wsgi_auth_type basic;
wsgi_auth_name r;
wsgi_auth_user_script auth.py;
server { location / { wsgi_require group one; } }
--- error: no "wsgi_auth_group_script" is defined for the "wsgi_require" directive


=== TEST 29: requirements are alternatives, an inner level replaces them
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return password
def groups_for_user(environ, user):
    return [user + 's']
--- config
wsgi_auth_type basic;
wsgi_auth_name r;
wsgi_auth_user_script @DIR@/auth.py;
wsgi_auth_group_script @DIR@/auth.py;
wsgi_require user alice eve;
wsgi_require group bobs;
location /outer { alias @DIR@; }
location /inner { alias @DIR@; wsgi_require user carol; }
location /all { alias @DIR@; wsgi_require valid-user; }
location /off { alias @DIR@; wsgi_auth_type off; }
--- more_headers eval
my $h = sub { "Authorization: Basic $_[0]" };
[$h->('eDpldmU='), $h->('eDpib2I='), $h->('eDpjYXJvbA=='), $h->('eDpFdmU='), $h->('eDpjYXJvbA=='), $h->('eDpib2I='), $h->('eDp6ZWQ='), ""]
--- request eval
["GET /outer/a.txt", "GET /outer/a.txt", "GET /outer/a.txt", "GET /outer/a.txt", "GET /inner/a.txt", "GET /inner/a.txt", "GET /all/a.txt", "GET /off/a.txt"]
--- error_code eval
[200, 200, 401, 401, 200, 401, 200, 200]


=== TEST 30: without a type nobody gets in
--- config_error
server { location / { wsgi_auth_name r; wsgi_auth_user_script auth.py; } }
--- error: no "wsgi_auth_type" is defined for the "wsgi_auth_name" directive


=== TEST 31: without a name nobody gets in
--- config_error
server { location / { wsgi_auth_type digest; wsgi_auth_user_script auth.py; } }
--- error: no "wsgi_auth_name" is defined for the "wsgi_auth_type" directive


=== TEST 32: without a script nobody gets in
--- config_error
server { location / { wsgi_auth_type basic; wsgi_auth_name r; } }
--- error: no "wsgi_auth_user_script" is defined for the "wsgi_auth_type" directive


=== TEST 33: a requirement alone lets nobody in
--- config_error
server { location / { wsgi_require valid-user; } }
--- error: no "wsgi_auth_type" is defined for the "wsgi_require" directive


=== TEST 34: variables and quotes in the realm
--- user_files
>>> auth.py
def check_password(environ, user, password):
    return {'yes': True, 'no': False, 'none': None, 'other': 'Other', 'utf8': '\u20ac'}[password]
--- config
location / {
    wsgi_auth_type basic;
    wsgi_auth_name 'a "realm" \\ of $uri';
    wsgi_auth_user_script @DIR@/auth.py;
}
--- request
GET /x%0d%0aInjected:%20y
--- error_code: 401
--- response_headers
WWW-Authenticate: Basic realm="a \"realm\" \\ of /xInjected: y"
Injected:


=== TEST 35: $remote_user and the access log
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return 'Other'
--- http_config
log_format user "user=[$remote_user]";
--- config
wsgi_auth_type basic;
wsgi_auth_name r;
wsgi_auth_user_script @DIR@/auth.py;
set $early $remote_user;
location / {
    alias @DIR@/;
    add_header X-User $remote_user;
}
access_log logs/error.log user;
--- more_headers
Authorization: Basic Ym9iOng=
--- request
GET /a.txt
--- response_headers
X-User: Other
--- error_log
user=[Other]


=== TEST 36: without hooks $remote_user is what it always was
--- config
wsgi_auth_type off;
location / { return 200 "$remote_user\n"; }
--- more_headers
Authorization: Basic Ym9iOng=
--- request
GET /
--- response_body
bob


=== TEST 37: a script reads the environ
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    assert 'HTTP_AUTHORIZATION' not in environ and 'REMOTE_USER' not in environ, environ
    assert not [key for key in environ if password in str(environ[key])], environ
    print('asked in', repr(environ['mod_wsgi.application_group']), file=environ['wsgi.errors'])
    return True
--- config
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py application-group=hooks;
}
--- more_headers
Authorization: Basic Ym9iOmEtc2VjcmV0LXdvcmQ=
--- request
GET /a.txt
--- error_log
asked in 'hooks'


=== TEST 38: satisfy any, with auth_basic beside it
--- user_files
>>> a.txt
content
>>> users
alice:{PLAIN}nginx
>>> auth.py
def check_password(environ, user, password):
    return password == 'hook'
--- config
satisfy any;
auth_basic nginx;
auth_basic_user_file @DIR@/users;
wsgi_auth_type basic;
wsgi_auth_name hook;
wsgi_auth_user_script @DIR@/auth.py;
location / { alias @DIR@/; }
location /all { alias @DIR@/; satisfy all; }
--- more_headers eval
my $h = sub { "Authorization: Basic $_[0]" };
[$h->('YWxpY2U6bmdpbng='), $h->('Ym9iOmhvb2s='), $h->('YWxpY2U6eA=='), "", $h->('YWxpY2U6bmdpbng='), $h->('Ym9iOmhvb2s=')]
--- request eval
["GET /a.txt", "GET /a.txt", "GET /a.txt", "GET /a.txt", "GET /all/a.txt", "GET /all/a.txt"]
--- error_code eval
[200, 200, 401, 401, 401, 401]


=== TEST 39: an error page behind the same lock
--- user_files
>>> denied.html
denied page
>>> auth.py
def check_password(environ, user, password):
    return {'yes': True, 'no': False, 'none': None, 'other': 'Other', 'utf8': '\u20ac'}[password]
--- config
error_page 401 /denied.html;
location / {
    alias @DIR@/;
    wsgi_auth_type basic;
    wsgi_auth_name r;
    wsgi_auth_user_script @DIR@/auth.py;
}
location = /denied.html { alias @DIR@/denied.html; }
location = /locked { error_page 401 /again; wsgi_auth_type basic; wsgi_auth_name r; wsgi_auth_user_script @DIR@/auth.py; }
--- request eval
["GET /x", "GET /locked"]
--- error_code eval
[401, 401]
--- raw_response_headers_unlike eval
[("WWW-Authenticate.*WWW-Authenticate") x 2]
--- response_headers eval
[('WWW-Authenticate: Basic realm="r"') x 2]
--- response_body_like eval
["denied page", "401 Authorization Required"]


=== TEST 40: refused: wsgi_auth_type kerberos;
--- config_error
wsgi_auth_type kerberos;
--- error: "wsgi_auth_type" has invalid value "kerberos": must be "basic", "digest" or "off"


=== TEST 41: refused: wsgi_auth_type basic;
--- config_error
wsgi_auth_type basic;
wsgi_auth_type basic;
--- error: "wsgi_auth_type" is duplicate


=== TEST 42: refused: wsgi_auth_name "";
--- config_error
wsgi_auth_name "";
--- error: "wsgi_auth_name" has invalid value "": must be a text without control characters


=== TEST 43: refused: wsgi_auth_name "a\nb";
--- config_error
wsgi_auth_name "a\nb";
--- error: "wsgi_auth_name" has invalid value "a\nb": must be a text without control characters


=== TEST 44: refused: wsgi_auth_name b;
--- config_error
wsgi_auth_name a;
wsgi_auth_name b;
--- error: "wsgi_auth_name" is duplicate


=== TEST 45: refused: wsgi_auth_name $nothing_of_this_name;
--- config_error
wsgi_auth_name $nothing_of_this_name;
--- error: unknown "nothing_of_this_name" variable
--- nowhere


=== TEST 46: refused: wsgi_require everybody;
--- config_error
wsgi_require everybody;
--- error: "wsgi_require" has invalid value "everybody": must be "valid-user", "user" or "group"


=== TEST 47: refused: wsgi_require valid-user bob;
--- config_error
wsgi_require valid-user bob;
--- error: "wsgi_require" has invalid parameter "bob"


=== TEST 48: refused: wsgi_require user;
--- config_error
wsgi_require user;
--- error: "wsgi_require" requires a name behind "user"


=== TEST 49: refused: wsgi_require group;
--- config_error
wsgi_require group;
--- error: "wsgi_require" requires a name behind "group"


=== TEST 50: refused: wsgi_auth_user_script a.py x;
--- config_error
wsgi_auth_user_script a.py x;
--- error: "wsgi_auth_user_script" has invalid option "x"


=== TEST 51: refused: wsgi_auth_user_script b.py;
--- config_error
wsgi_auth_user_script a.py;
wsgi_auth_user_script b.py;
--- error: "wsgi_auth_user_script" is duplicate


=== TEST 52: refused: wsgi_auth_user_script a.py "application-group=%{ENV:x}";
--- config_error
wsgi_auth_user_script a.py "application-group=%{ENV:x}";
--- error: "wsgi_auth_user_script" has invalid option "application-group=%{ENV:x}"


=== TEST 53: refused: wsgi_auth_group_script a.py callable-object=x;
--- config_error
wsgi_auth_group_script a.py callable-object=x;
--- error: "wsgi_auth_group_script" has invalid option "callable-object=x"


=== TEST 54: refused: wsgi_auth_group_script b.py;
--- config_error
wsgi_auth_group_script a.py;
wsgi_auth_group_script b.py;
--- error: "wsgi_auth_group_script" is duplicate


=== TEST 55: what is missing in a server without locations
--- config_error
server { wsgi_auth_type basic; wsgi_auth_name r; }
--- error: no "wsgi_auth_user_script" is defined for the "wsgi_auth_type" directive


=== TEST 56: what is missing for some methods
--- config_error
server { location / { limit_except GET { wsgi_require user bob; } } }
--- error: no "wsgi_auth_type" is defined for the "wsgi_require" directive


=== TEST 57: a location that inherits too little is warned of, and lets nobody in
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
--- config
wsgi_auth_name r;
wsgi_auth_user_script @DIR@/auth.py;
location /one { alias @DIR@/; }
--- more_headers
Authorization: Basic YTpi
--- request
GET /one/a.txt
--- error_code: 500
--- error_log eval
[qr/\[warn\] .*no "wsgi_auth_type" is defined for the "wsgi_auth_name" directive in \S+:\d+: a location that inherits it answers 500/,
 'the client cannot be authenticated: "wsgi_auth_type" is not set']


=== TEST 58: what every location adds, the server need not have
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    return True
--- config
wsgi_auth_name r;
wsgi_auth_user_script @DIR@/auth.py;
wsgi_require group one;
location / { alias @DIR@/; wsgi_auth_type basic; wsgi_require user a; }
--- more_headers
Authorization: Basic YTpi
--- request
GET /a.txt
--- no_error_log
[warn]
[error]


=== TEST 59: refused: wsgi_auth_nonce_lifetime 0;
--- config_error
wsgi_auth_nonce_lifetime 0;
--- error: "wsgi_auth_nonce_lifetime" has invalid value "0": must be a time of at least 1s


=== TEST 60: refused: wsgi_auth_nonce_lifetime soon;
--- config_error
wsgi_auth_nonce_lifetime soon;
--- error: "wsgi_auth_nonce_lifetime" has invalid value "soon": must be a time of at least 1s


=== TEST 61: refused: wsgi_auth_nonce_lifetime 2m;
--- config_error
wsgi_auth_nonce_lifetime 1m;
wsgi_auth_nonce_lifetime 2m;
--- error: "wsgi_auth_nonce_lifetime" is duplicate


=== TEST 62: refused: wsgi_auth_nonce_lifetime;
--- config_error
wsgi_auth_nonce_lifetime;
--- error: invalid number of arguments in "wsgi_auth_nonce_lifetime" directive


=== TEST 63: a name with control characters is nobody's, and gets into no log
--- user_files
>>> a.txt
content
>>> auth.py
def check_password(environ, user, password):
    print('asked')
    return True
--- config
location / { alias @DIR@/; wsgi_auth_type basic; wsgi_auth_name r; wsgi_auth_user_script @DIR@/auth.py; }
--- more_headers eval
use MIME::Base64;
my $h = sub { 'Authorization: Basic ' . encode_base64("$_[0]:p", '') };
[$h->("bob\0eve"), $h->("bob\nforged"), $h->("\x7f")]
--- request eval
["GET /a.txt", "GET /a.txt", "GET /a.txt"]
--- error_code eval
[401, 401, 401]
--- error_log eval
[qr/credentials with control characters in the user's name.*request: "GET/]
--- no_error_log eval
["asked", qr/^forged/m]


=== TEST 64: a subrequest is not checked, and has no user
--- app
@SHOW REMOTE_USER@
--- user_files
>>> page.shtml
<!--#include virtual="/part" -->
>>> auth.py
def check_password(environ, user, password):
    return True
--- config
wsgi_auth_type basic;
wsgi_auth_name r;
wsgi_auth_user_script @DIR@/auth.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location = /page.shtml { root @DIR@; ssi on; default_type text/html; types { } }
--- more_headers
Authorization: Basic dTpw
--- request eval
["GET /page.shtml", "GET /part"]
--- response_body_like eval
["^REMOTE_USER absent\\s*\$", "^REMOTE_USER='u'\$"]
