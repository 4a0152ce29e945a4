"""Extension modules find Python's API in the process, whether it is in the executable or in libpython."""

import shutil
import subprocess
import sysconfig

import pytest

from client import get

SOURCE = """
#include <Python.h>

static PyObject *check(PyObject *self, PyObject *argument)
{
    if (!PyLong_CheckExact(argument))
        return PyErr_Format(PyExc_ValueError, "%R is no int", argument);
    return PyLong_FromVoidPtr(&PyLong_Type);
}

static PyMethodDef functions[] = {{"check", check, METH_O, NULL}, {NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "probe", NULL, 0, functions};

PyMODINIT_FUNC PyInit_probe(void)
{
    return PyModuleDef_Init(&definition);
}
"""
APP = """
import ctypes
import sys
sys.path.insert(0, {directory!r})
import probe

def application(environ, start_response):
    try:
        probe.check('text')
    except ValueError as error:
        refused = str(error)
    one_python = probe.check(10 ** 30) == id(int)
    main = ctypes.pythonapi.PyLong_AsLong(ctypes.py_object(12)) == 12
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((refused, one_python, main)).encode()]
"""


@pytest.mark.parametrize("linked", [False, True], ids=["as wheels are", "with libpython"])
def test_extension_modules(nginx, group, linked):
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed, as for the module itself"
    source = nginx.write("probe.c", SOURCE)
    command = [compiler, source, "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}"]
    if linked:
        directory = sysconfig.get_config_var("LIBDIR")
        version = sysconfig.get_config_var("LDVERSION")
        command += ["-Wl,--no-as-needed", f"-L{directory}", f"-Wl,-rpath,{directory}", f"-lpython{version}"]
    subprocess.run([*command, "-o", nginx.dir / "probe.so"], check=True)
    nginx.write("app.wsgi", APP.format(directory=str(nginx.dir)))
    nginx.configure(
        f'wsgi_script_alias /main {{dir}}/app.wsgi {group} "application-group=%{{GLOBAL}}";'
        f"wsgi_script_alias / {{dir}}/app.wsgi {group} application-group=own;",
        http="wsgi_daemon_process app;",
    )
    nginx.start()
    for path in "/main", "/":
        status, _, body = get(nginx.port, path)
        assert (status, body) == (200, b"(\"'text' is no int\", True, True)"), nginx.log()
