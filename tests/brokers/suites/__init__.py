"""The contract's suites: one file for each part, with a class for each capability of engines.

``tests/brokers/test_contract_<engine>.py`` composes the suites that an engine must pass, and defines the fixtures that
they need: ``make`` opens a broker of the engine with these limits; for the ``Shared`` suites ``make_shared`` does so,
and ``shared_url`` names the same store. Each engine's fixtures are resolved only there: a missing server skips only its
own tests.
"""
