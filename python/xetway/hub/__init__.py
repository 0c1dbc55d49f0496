"""The Hub: repositories with git history, revisions, tokens, and the routes that Hub clients use.

Content itself is in the content store (`xetway.cas`); here are names, versions and rights.
"""
