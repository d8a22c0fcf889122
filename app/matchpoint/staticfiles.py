"""Static files with the hash of their content in the name, so that browsers may keep them for ever."""

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class HashedStaticFilesStorage(ManifestStaticFilesStorage):
    """Also rewrites the `import` statements of ES modules to the hashed names."""

    support_js_module_import_aggregation = True
